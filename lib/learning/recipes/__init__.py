"""Training recipes: each is a frozen dataclass of options with one method `step(network, batch) -> losses`."""
