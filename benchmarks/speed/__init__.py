"""Benchmarks of time and memory: kernels, selective scan, networks, and the pipeline around the network."""
