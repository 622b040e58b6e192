"""Selection strategies: pure functions on arrays, one file each, for first pools and queries."""
