"""Who describes a picture: one interface, two generators, and how one is opened."""
