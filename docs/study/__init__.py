"""What docs/results.py puts together: the sweeps of a study, and the parts of its page."""
