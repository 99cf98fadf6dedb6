"""Volumes and their grids: body crop, orientation, resampling, restoring a label to its source grid."""
