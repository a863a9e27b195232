"""abawkit: from a release of the ABAW challenge to a checked submission and its honest score."""

__version__ = "0.1.0"
