"""Read and check images, find cases, split them by patient, and draw training patches."""
