"""The losses: one idea a file, functions of logits or probabilities and integer labels, 255 ignored."""
