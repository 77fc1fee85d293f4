"""Long figures: speed, memory, kills, learning. `make bench`, or `python -m benchmarks NAME`.

Each prints a table with the machine, the sizes and a ratio to the alternative in the same run; the
tables in `docs/performance.md` are these outputs.
"""
