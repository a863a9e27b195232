"""Fits rules on validation (thresholds, biases, smoothing, weights) and estimates their scores out of fold."""
