"""Choose the study to label next: at random or by scores that a job computed; lease it to one annotator."""
