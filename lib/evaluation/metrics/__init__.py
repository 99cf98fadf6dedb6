"""Score one prediction against its reference: overlap, surface, topology, volume, clicks and restored counts."""
