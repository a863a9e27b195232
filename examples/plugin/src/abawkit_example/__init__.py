"""An example of a package that adds an implementation of an operator and a format of submissions to abawkit."""
