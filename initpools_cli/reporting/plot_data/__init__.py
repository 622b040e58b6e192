"""Collect the data of each kind of plot: one file for each kind, with its name."""
