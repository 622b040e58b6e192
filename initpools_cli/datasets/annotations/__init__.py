"""What annotators bring back, whatever they used: one file a format, all read to the same rows."""
