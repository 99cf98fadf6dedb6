"""C++ kernels for CPUs, built on first use and cached by the hash of their source."""
