"""Encoder networks, backbones with published weights, and weight files."""
