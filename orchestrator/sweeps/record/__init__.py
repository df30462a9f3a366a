"""A sweep's record, and all that can be read from it without Ray."""
