"""Tables of results with honest figures: intervals, significance, and four formats."""
