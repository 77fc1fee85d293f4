"""Bytes to values, each format once: DICOM, raster pictures, tables, NBIA lists.

A reader never knows which release called it. What it cannot read it refuses with a
`schemas.errors.ContentError`, whose reason is a word of `schemas.rejects`.
"""
