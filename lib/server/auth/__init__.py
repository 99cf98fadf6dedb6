"""Know who asks, and let each route be used by those whose role allows it."""
