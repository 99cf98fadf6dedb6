"""Rules without a network that every model is compared with."""
