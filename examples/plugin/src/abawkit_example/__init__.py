"""An example of a package that adds an operator implementation, an extractor and a submission format to abawkit."""
