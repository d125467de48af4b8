"""Exact expectations: of quadratic users by recursion, of runs of any length, by enumeration; and Monte Carlo."""
