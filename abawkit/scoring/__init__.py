"""The challenge's score, by its own protocol and by the paper's, and what others published."""
