"""Entry point of ``python -m benchmarks.busy``."""

from benchmarks.serving.busy import main

if __name__ == "__main__":
    main()
