"""Loops that yield rows: fitting a pretext, inferring features and scores, classifiers, active-learning rounds."""
