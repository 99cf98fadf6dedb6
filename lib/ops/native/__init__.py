"""The kernels in C++ for CPUs: built on first use, kept by the hash of their source."""
