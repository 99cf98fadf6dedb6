"""Entry point of ``python -m benchmarks.ablation``."""

from benchmarks.learning.ablation import main

if __name__ == "__main__":
    main()
