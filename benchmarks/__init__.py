"""Benchmarks: tables of ratios and of accuracy, each by one command, kept in `results/` with what made them."""
