"""Jobs run: the queue, the gate that decides whether a new version is served, publication and rollback."""
