"""Recipes: a frozen dataclass of options and one `step(batch) -> losses` each."""
