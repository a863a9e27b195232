"""An example of a package that adds an implementation to abawkit."""
