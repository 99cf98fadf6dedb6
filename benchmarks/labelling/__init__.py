"""Benchmarks of the tools for annotators: clicks and the check of submitted labels."""
