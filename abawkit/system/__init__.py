"""Files, locks, signals, provenance: what the machine is asked for."""
