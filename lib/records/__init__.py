"""Records remember: the ledger, label versions, model versions, the split, leases and scores of an app."""
