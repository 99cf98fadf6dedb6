"""Records remember: model versions, each written once and read whole."""
