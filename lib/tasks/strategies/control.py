"""Assign studies at random to a control arm without proposals, so that the time saved by proposals can be measured."""

from hashlib import sha256


def is_blank(image: str, share: float) -> bool:
    """Return whether a study belongs to the control arm, and so gets no proposal; the same on every machine.

    Args:
        image: Name of the study.
        share: Share of studies in the control arm, in [0, 1].
    """
    draw = int.from_bytes(sha256(f"control:{image}".encode()).digest()[:8], "big")
    return draw < share * 2**64
