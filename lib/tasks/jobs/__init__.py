"""Run an app's jobs from the queue and connect MONAI Label's routes to the queue."""
