"""Benchmarks: each is one command, and `results/` holds its figures, its table and the machine that made them."""
