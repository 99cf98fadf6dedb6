"""Entry point of ``python -m benchmarks.bone_scan``."""

from benchmarks.scintigraphy.bone_scan import main

if __name__ == "__main__":
    main()
