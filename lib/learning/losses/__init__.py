"""Loss functions, one idea per file, of logits or probabilities and integer labels; label 255 is ignored."""
