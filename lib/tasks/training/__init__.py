"""Train, judge and publish a version of a task."""
