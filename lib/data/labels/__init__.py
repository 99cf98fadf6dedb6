"""Read label files: the names of their segments, their values, and their place on the grid of an image."""
