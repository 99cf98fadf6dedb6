"""Train, judge and publish versions of a task."""
