"""Learners: classifiers trained on the labeled images, one file each."""
