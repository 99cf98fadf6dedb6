"""Answer clicks: what viewers ask, what is kept of a slice between clicks, and the masks."""
