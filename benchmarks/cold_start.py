"""Entry point of ``python -m benchmarks.cold_start``."""

from benchmarks.learning.cold_start import main

if __name__ == "__main__":
    main()
