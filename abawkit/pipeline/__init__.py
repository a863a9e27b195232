"""Commands as steps of a larger job, and their cache."""
