"""Entry point of ``python -m benchmarks.reading``."""

from benchmarks.speed.reading import main

if __name__ == "__main__":
    main()
