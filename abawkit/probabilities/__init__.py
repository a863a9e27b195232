"""Stored probabilities as files, and the networks that wrote them."""
