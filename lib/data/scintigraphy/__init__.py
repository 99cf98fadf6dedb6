"""Bone scans: read and check recorded counts, thin them, crop them for training, and write restored scans."""
