"""Encoders by name, backbones with published weights, and their files."""
