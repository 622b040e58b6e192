"""initpools."""
