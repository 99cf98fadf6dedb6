"""A clock for tests of code that depends on the time."""


class Clock:
    """A clock whose time a test sets through `now`, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now
