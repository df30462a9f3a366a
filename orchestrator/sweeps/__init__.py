"""One sweep, from its command to its outcome."""
