"""Classifiers that are trained on what has been labeled: one file each."""
