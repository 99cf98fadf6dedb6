"""Show an admin the state of the served app, and carry out the admin's word."""
