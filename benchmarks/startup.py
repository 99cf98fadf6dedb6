"""Entry point of ``python -m benchmarks.startup``."""

from benchmarks.serving.startup import main

if __name__ == "__main__":
    main()
