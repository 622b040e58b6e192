"""One plot a file; each registers itself in ``analysis.registry.plots``."""
