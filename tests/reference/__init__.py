"""Slow, plain twins of what the library computes, written from the formulas and not from the library's code."""
