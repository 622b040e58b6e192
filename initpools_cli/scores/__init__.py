"""Scores: one number per image, pure functions on arrays, one file each."""
