"""Finds labels that are probably wrong, from what networks say about rows that they were not trained on."""
