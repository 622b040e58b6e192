"""Sections of docs/results.md, and the sweeps they are computed from."""
