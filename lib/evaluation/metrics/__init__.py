"""Metrics of one prediction against its reference: overlap, surface, topology, volume, clicks, restored counts."""
