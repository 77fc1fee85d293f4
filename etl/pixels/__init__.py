"""The kernel: bytes of a film to a standard sample. Pure functions, arrays in, arrays out."""
