"""A sweep's report: one page, its tables, and its figures, made from the storage alone."""
