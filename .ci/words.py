"""Fail where a word that the project does not use stands in a tracked file, and name the place.

The words make riddles of sentences and of identifiers: write who does what.
"""

import re
import subprocess
import sys
from pathlib import Path

WORDS = (
    "told",
    "said",
    "deed",
    "heed",
    "theirs",
    "whoever",
    "owes",
    "nobody",
    "everybody",
    "somebody",
    "anew",
    "hardly",
    "kept aside",
    "moved on",
)
FOLDERS = ("lib", "apps", "viewer", "tests", "benchmarks", "docs", "sample-data", "README.md")
SUFFIXES = {".py", ".md", ".html", ".css", ".js", ".ts", ".tsx", ".toml", ".sh", ".cpp", ".h"}
LEFT_OUT = ("benchmarks/results/", "tests/fuzz/corpus/", "tests/test_words.py")
"""Kept results say what was measured at their commit; the test of this file names the words."""
KEPT = ("NOBODY_WAITS", '{"ours": difference.arm, "theirs": difference.reference}')
"""An error code and a key of files that clients and earlier versions know."""
# A letter before or after a word makes another word of it; an underscore or a digit does not.
PATTERN = re.compile(
    "(?<![a-z])(" + "|".join(word.replace(" ", "[ _]") for word in WORDS) + ")(?![a-z])", re.IGNORECASE
)


def find_words(text: str) -> list[tuple[int, str]]:
    """Return the number of each line that has a word of the list, and the word."""
    for kept in KEPT:
        text = text.replace(kept, "")
    lines = text.splitlines()
    return [(number, match.group()) for number, line in enumerate(lines, 1) for match in PATTERN.finditer(line)]


def main() -> int:
    """Print every place and return the exit status."""
    listed = subprocess.run(["git", "ls-files", "-z", *FOLDERS], capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if Path(name).suffix in SUFFIXES and not name.startswith(LEFT_OUT)]
    found = [
        f"{name}:{number}: '{word}': write who does what"
        for name in names
        if Path(name).is_file()
        for number, word in find_words(Path(name).read_text(encoding="utf-8"))
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
