"""What the input gate says about an image that must not reach a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """One fault of an input: a stable code, what was found, and what to do about it."""

    code: str
    reason: str
    remedy: str


class InputRejected(ValueError):
    """Raised for an input with one or more findings.

    Args:
        findings: At least one finding, the most basic first.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(f"{f.code}: {f.reason} {f.remedy}" for f in self.findings))

    def as_dict(self) -> dict[str, list[dict[str, str]]]:
        """Return the findings as plain data, for a JSON answer."""
        return {"findings": [asdict(finding) for finding in self.findings]}


def reject(code: str, reason: str, remedy: str) -> InputRejected:
    """Return the exception for a single finding, to be raised by the caller."""
    return InputRejected([Finding(code, reason, remedy)])
