"""Training patches: augmentation, label maps and the dataset that draws them."""
