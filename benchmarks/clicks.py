"""Entry point of ``python -m benchmarks.clicks``."""

from benchmarks.labelling.clicks import main

if __name__ == "__main__":
    main()
