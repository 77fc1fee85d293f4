"""The main job on real input, in one command: `python -m demo` (or `make demo`)."""
