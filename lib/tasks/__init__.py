"""Serve the tasks of an app as infer tasks, train tasks, strategies and scoring methods of MONAI Label."""
