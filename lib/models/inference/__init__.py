"""Run a network on whole volumes: windows, engines, views, embeddings."""
