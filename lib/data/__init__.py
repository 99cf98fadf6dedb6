"""Feed: the one reading of images, the input gate, splits and training patches."""
