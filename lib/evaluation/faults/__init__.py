"""Check a submitted label: find the places that a reviewer should look at before training uses the label."""
