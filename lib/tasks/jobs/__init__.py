"""What the queue does for an app, and how MONAI Label's routes speak of it."""
