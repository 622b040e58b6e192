"""The page on which a batch is labeled, and its server."""
