"""Before a sweep: whether it can run, and what it will take."""
