"""Encoded images stored in parquet files or tar archives, several to a file (a shard)."""
