"""The labeling loop: batches that people label, what is known of their labels, and what comes of a round."""
