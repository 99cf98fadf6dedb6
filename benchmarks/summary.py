"""Entry point of ``python -m benchmarks.summary``."""

from benchmarks.harness.targets import main

if __name__ == "__main__":
    main()
