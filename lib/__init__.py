"""TopoLabel: an active-learning annotation server for medical images."""
