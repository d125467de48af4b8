"""Right sides as formulas, in floats or balls."""
