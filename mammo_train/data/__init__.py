"""The trainer's data: which samples, in which order, read by offset, turned into batches.

``selection`` chooses films from the manifest, ``order`` and ``draws`` decide what an epoch reads,
``reading`` fetches and decodes, ``transforms``, ``patches`` and ``augment`` make rows of a batch,
``dataset`` is the loader, ``tiles`` runs whole films through a fixed canvas at inference.
"""
