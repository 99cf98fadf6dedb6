"""Entry point of ``python -m benchmarks.peers``."""

from benchmarks.learning.peers import main

if __name__ == "__main__":
    main()
