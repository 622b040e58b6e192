"""Self-supervised tasks: one file each, whose one per-image loss serves training and scoring."""
