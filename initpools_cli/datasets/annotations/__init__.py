"""Readers of annotations, one module per format, and their validation."""
