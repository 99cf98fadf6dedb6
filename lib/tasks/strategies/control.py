"""Which studies are labelled without a proposal: a lot that all draw alike, so that time saved can be measured."""

from hashlib import sha256


def is_blank(image: str, share: float) -> bool:
    """Say whether a study belongs to the control arm.

    Args:
        image: Its name.
        share: Of the studies that get no proposal, in [0, 1].
    """
    lot = int.from_bytes(sha256(f"control:{image}".encode()).digest()[:8], "big")
    return lot < share * 2**64
