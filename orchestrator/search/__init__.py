"""What is tried next and what it proved: pure functions of a sweep's record."""
