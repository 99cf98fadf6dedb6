"""Which study to label next: drawn, or ranked by scores that jobs computed; leased to one annotator at a time."""
