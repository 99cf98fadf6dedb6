"""Benchmarks of the restoration of rapid bone scans."""
