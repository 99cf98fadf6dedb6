"""Load the served version of a task, follow its champion, write its answers."""
