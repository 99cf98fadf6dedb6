"""Score predictions: every function takes arrays or callables, and depends on no model and no file."""
