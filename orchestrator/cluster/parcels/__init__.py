"""Files packed by content into the storage and laid out again on a node."""
