"""Load the served version of a task, replace it when the champion changes, and write inference results."""
