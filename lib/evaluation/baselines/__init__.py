"""Simple rules without a network, as baselines for every model."""
