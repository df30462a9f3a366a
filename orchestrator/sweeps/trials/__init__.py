"""Cells trained by Ray Tune, one trial a cell."""
