"""A paper's tables and figures: rows, data sets and seeds over the same cells."""
