"""Features of frames: the store on disk, what computes them, and the import of those that other programs computed."""
