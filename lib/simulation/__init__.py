"""Rehearse: simulated people annotate at a real server, and curves tell what their labels bring."""
