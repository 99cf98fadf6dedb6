"""The admin pages: show the state of the served app and run the actions of an admin."""
