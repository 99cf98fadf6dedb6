"""Tasks that restore rapid scans: from counts to the counts that a whole scan is expected to show."""
