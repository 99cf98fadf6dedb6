"""Score and rank unlabelled cases, to choose which case to label next."""
