"""The rendered face, one part per file."""
