"""The command line: one file per command, which parses options, calls one function and prints the result."""
