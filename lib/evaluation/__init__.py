"""Judge label arrays: every score takes arrays (or callables) and knows no model and no file."""
