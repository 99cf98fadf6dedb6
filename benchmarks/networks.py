"""Entry point of ``python -m benchmarks.networks``."""

from benchmarks.speed.networks import main

if __name__ == "__main__":
    main()
