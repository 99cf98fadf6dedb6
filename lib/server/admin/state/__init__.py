"""What the admin's pages show, gathered from queue, ledger, versions and machine as plain data."""
