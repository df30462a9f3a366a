"""What has run, by content: cells, where they lie, and who works on a sweep."""
