"""Write files atomically, and read TOML tables into checked dataclasses."""
