"""Configuration, registries, run directories, errors, seeds and files. Nothing here imports torch."""
