"""One file a command: parse, call the step, print."""
