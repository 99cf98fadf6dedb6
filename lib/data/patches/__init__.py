"""Training patches: the dataset that draws them, augmentation, and label maps of slices."""
