"""What follows a search: one small class per kind of protocol."""
