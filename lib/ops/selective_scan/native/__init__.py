"""The selective scan in C++ for CPUs: built on first use, kept by the hash of its source."""
