"""Entry point of ``python -m benchmarks.head_ct_clicks``."""

from benchmarks.labelling.head_ct_clicks import main

if __name__ == "__main__":
    main()
