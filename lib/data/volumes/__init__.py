"""Volumes and their grids: orientation, resampling, body crop, slices, and labels back on the source grid."""
