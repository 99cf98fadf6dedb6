"""Fuzz one target for a while; what breaks it stays in the folder of its corpus as ``crash-...``."""

import argparse
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Let atheris find inputs that reach new code."""
    import atheris

    with atheris.instrument_imports(
        include=["lib.data", "lib.server.guard", "nibabel", "pydicom"], enable_loader_override=False
    ):
        from tests.fuzz.seeds import write_seeds
        from tests.fuzz.targets import TARGETS

    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("target", choices=list(TARGETS))
    asked.add_argument("--seconds", type=int, default=60)
    asked.add_argument("--found", type=Path, default=None, help="where new inputs go; a folder of its own by default")
    given = asked.parse_args()
    found = given.found or CORPUS.parent / "found" / given.target
    write_seeds(given.target, found)
    limits = ["-rss_limit_mb=6000", "-timeout=30", "-max_len=8192", "-len_control=20"]
    flags = [f"-max_total_time={given.seconds}", f"-artifact_prefix={found}/crash-", *limits]
    known = [str(CORPUS / given.target)] if (CORPUS / given.target).is_dir() else []
    atheris.Setup([sys.argv[0], *flags, str(found), *known], TARGETS[given.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
