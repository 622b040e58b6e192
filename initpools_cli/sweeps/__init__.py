"""Active-learning experiments over seeds: set up, run in jobs, read back and judged."""
