"""What is fitted on validation: thresholds, biases, smoothing, weights, and the estimate of its score."""
