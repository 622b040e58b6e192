"""Statistical tests, intervals and metrics."""
