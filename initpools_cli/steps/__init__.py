"""One file a step: read from the run, compute, write into the run."""
