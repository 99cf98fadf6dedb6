"""Entry point of ``python -m benchmarks.coverage``."""

from benchmarks.learning.coverage import main

if __name__ == "__main__":
    main()
