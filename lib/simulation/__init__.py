"""Rehearse active learning: simulated annotators label at a real server; curves show accuracy against labels."""
