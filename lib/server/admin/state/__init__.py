"""The data of the admin pages, collected from queue, ledger, versions and machine."""
