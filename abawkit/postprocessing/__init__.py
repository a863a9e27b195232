"""From stored probabilities to decisions: ensembles, smoothing, calibration, and honest figures for what was fitted.

Nothing here needs torch or frames: everything works on the ``.npz`` files that `abawkit predict` leaves.
"""
