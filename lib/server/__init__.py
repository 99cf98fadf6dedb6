"""Serve MONAI Label's web application over the network, with checks in front of every route."""
