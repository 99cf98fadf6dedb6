"""Fuzz one target for some seconds; inputs that break it are stored in the output folder as ``crash-...``."""

import argparse
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Run atheris, which searches for inputs that reach new code."""
    import atheris

    with atheris.instrument_imports(
        include=["lib.data", "lib.server.guard", "nibabel", "pydicom"], enable_loader_override=False
    ):
        from tests.fuzz.seeds import write_seeds
        from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--found", type=Path, default=None, help="folder for new inputs (default: tests/fuzz/found/TARGET)"
    )
    options = parser.parse_args()
    found = options.found or CORPUS.parent / "found" / options.target
    write_seeds(options.target, found)
    limits = ["-rss_limit_mb=6000", "-timeout=30", "-max_len=8192", "-len_control=20"]
    flags = [f"-max_total_time={options.seconds}", f"-artifact_prefix={found}/crash-", *limits]
    known = [str(CORPUS / options.target)] if (CORPUS / options.target).is_dir() else []
    atheris.Setup([sys.argv[0], *flags, str(found), *known], TARGETS[options.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
