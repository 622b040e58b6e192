"""Classifiers that are trained on what has been labelled: one file each."""
