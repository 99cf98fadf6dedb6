"""Jobs run: what decides whether a new version is served, and what takes it back."""
