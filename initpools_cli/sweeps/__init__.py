"""Active-learning experiments over seeds: setup, jobs, executors, results and verdicts."""
