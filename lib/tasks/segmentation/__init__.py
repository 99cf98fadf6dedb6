"""Tasks of kind "segmentation": label an image on its own grid."""
