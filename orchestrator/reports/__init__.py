"""A sweep's report: one page, its tables and its files."""
