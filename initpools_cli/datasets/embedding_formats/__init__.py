"""Formats in which embeddings are stored: one reader a file."""
