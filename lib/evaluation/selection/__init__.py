"""Scores of unlabelled cases, which decide what to label next."""
