"""One plot a file; each registers itself in ``figures.registry.plots``."""
