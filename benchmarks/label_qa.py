"""Entry point of ``python -m benchmarks.label_qa``."""

from benchmarks.labelling.label_qa import main

if __name__ == "__main__":
    main()
