"""Training and inference: pretext tasks, features, scores, learners and active-learning rounds."""
