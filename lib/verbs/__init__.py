"""Groups of commands of ``python -m lib``: arguments and printing only."""
