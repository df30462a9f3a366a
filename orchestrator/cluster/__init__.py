"""Ray and its nodes: connection, resources, data, jobs, and work that is spread."""
