"""Who describes a picture: one interface, its generators, and how one is opened."""
