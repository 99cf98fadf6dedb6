"""Entry point of ``python -m benchmarks.annotators``."""

from benchmarks.serving.annotators import main

if __name__ == "__main__":
    main()
