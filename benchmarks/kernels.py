"""Entry point of ``python -m benchmarks.kernels``."""

from benchmarks.speed.kernels import main

if __name__ == "__main__":
    main()
