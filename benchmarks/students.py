"""Entry point of ``python -m benchmarks.students``."""

from benchmarks.learning.students import main

if __name__ == "__main__":
    main()
