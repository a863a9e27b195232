"""Networks, their configurations, and their weights as files."""
