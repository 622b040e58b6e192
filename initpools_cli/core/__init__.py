"""Configuration, registries, run directories, errors, seeds: what every step stands on. No torch here."""
