"""Run a network on whole volumes: windows, execution engines, repeated predictions and embeddings."""
