"""Suites of comparisons: run what is missing, and put every result into one table."""
