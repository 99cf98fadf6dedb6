"""Answer clicks: read requests, cache images and slice embeddings between clicks, and compute masks."""
