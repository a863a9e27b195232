"""The drawn face, a part a file."""
