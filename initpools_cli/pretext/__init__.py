"""Self-supervised tasks, one file each; the loss per image is used for training and for scores."""
