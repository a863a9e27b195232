"""From a curated set and a recipe to a run: networks, their scores, and what they were made of."""
