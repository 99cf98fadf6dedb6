"""Learning improves: recipes (frozen dataclasses with one step each) and the one loop that runs them."""
