"""Which images to label: pure functions on arrays, one file each, for first pools and for queries alike."""
