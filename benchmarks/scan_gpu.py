"""Entry point of ``python -m benchmarks.scan_gpu``."""

from benchmarks.speed.scan_gpu import main

if __name__ == "__main__":
    main()
