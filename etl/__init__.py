"""Releases in, samples out: sources, readers, the kernel, phantoms. Imports no Beam."""
