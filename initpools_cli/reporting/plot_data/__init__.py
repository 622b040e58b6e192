"""What each kind of plot is drawn from: one file a kind, named as the kind is."""
