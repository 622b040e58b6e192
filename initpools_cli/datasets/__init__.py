"""Data sets: where images and labels come from, their splits, and the one uint8 array that training reads."""
