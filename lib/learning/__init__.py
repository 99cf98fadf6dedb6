"""Train networks: recipes (frozen dataclasses with one step each) and the one training loop that runs them."""
