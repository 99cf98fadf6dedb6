"""Entry point of ``python -m benchmarks.distillation``."""

from benchmarks.learning.distillation import main

if __name__ == "__main__":
    main()
