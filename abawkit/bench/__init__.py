"""``abawkit bench``: operators, networks, training step and loader, measured on this machine beside known ones."""
