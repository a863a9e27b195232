"""From stored probabilities to decisions: ensembles, smoothing and calibration, without torch or frames."""
