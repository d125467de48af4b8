"""Exact expectations: of quadratic users by recursion, of runs of any length, of short runs by enumeration; and Monte Carlo."""
