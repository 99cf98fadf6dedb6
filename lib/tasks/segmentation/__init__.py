"""Tasks of kind "segmentation": an image in, a label on its grid out."""
