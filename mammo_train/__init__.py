"""The trainer: it reads one corpus version and knows nothing of releases.

``engine`` is the one training loop, ``stages`` say what is learnt, ``runtime`` is the only place
that knows a device, ``data`` reads samples by offset. Research use only, not a medical device.
"""
