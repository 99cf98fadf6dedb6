"""Authenticate the sender of each request and check that the sender's role allows the route."""
