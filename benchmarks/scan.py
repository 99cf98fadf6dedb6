"""Entry point of ``python -m benchmarks.scan``."""

from benchmarks.speed.scan import main

if __name__ == "__main__":
    main()
