"""Entry point of ``python -m benchmarks.channels``."""

from benchmarks.learning.channels import main

if __name__ == "__main__":
    main()
