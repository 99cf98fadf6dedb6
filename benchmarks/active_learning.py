"""Entry point of ``python -m benchmarks.active_learning``."""

from benchmarks.learning.active_learning import main

if __name__ == "__main__":
    main()
