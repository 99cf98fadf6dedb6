"""Findings: faults of an input image, with a code, a reason and a remedy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """One fault of an input: a stable code, the reason and the remedy, each a sentence."""

    code: str
    reason: str
    remedy: str


class InputRejected(ValueError):
    """Raised when an input has one or more findings.

    Args:
        findings: At least one finding; the first is the most fundamental.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(f"{f.code}: {f.reason} {f.remedy}" for f in self.findings))

    def as_dict(self) -> dict[str, list[dict[str, str]]]:
        """Return the findings as plain data for a JSON response."""
        return {"findings": [asdict(finding) for finding in self.findings]}


def reject(code: str, reason: str, remedy: str) -> InputRejected:
    """Return an exception with a single finding, for the caller to raise."""
    return InputRejected([Finding(code, reason, remedy)])
