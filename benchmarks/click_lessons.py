"""Entry point of ``python -m benchmarks.click_lessons``."""

from benchmarks.learning.click_lessons import main

if __name__ == "__main__":
    main()
