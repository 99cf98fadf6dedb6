"""Serve what an app declares: its tasks as MONAI Label's infer tasks, train tasks, strategies and scoring methods."""
