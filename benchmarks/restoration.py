"""Entry point of ``python -m benchmarks.restoration``."""

from benchmarks.scintigraphy.restoration import main

if __name__ == "__main__":
    main()
