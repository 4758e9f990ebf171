"""`make bench-library`: what the training library reaches, side by side with its peers."""
