"""Bone scans: recorded counts read and checked, thinned, cut for training, and written back as derived images."""
