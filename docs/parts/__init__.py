"""Generators of the generated parts of the pages."""
