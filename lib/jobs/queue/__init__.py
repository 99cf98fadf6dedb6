"""The durable queue: jobs that outlive the server, done by processes apart from it, one per device."""
