"""A prepared data set: its schema, its parts and how they are read."""
