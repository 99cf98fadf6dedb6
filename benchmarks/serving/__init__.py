"""Benchmarks of a running server: waiting times, refusals, lost labels and memory."""
