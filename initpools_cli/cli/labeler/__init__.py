"""The page on which a batch is labelled, and its server."""
