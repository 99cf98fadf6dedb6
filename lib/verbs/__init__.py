"""Verbs in groups, each with a word of its own behind ``python -m lib``: arguments and printing only."""
