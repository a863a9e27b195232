"""From checkpoints and frames to probabilities, and from these to the official file."""
