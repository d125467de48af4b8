"""Exact expectations: of quadratic users by recursion, of runs of any length, by enumeration; and Monte Carlo."""

from __future__ import annotations

from .quadratics import QuadraticUsers, quadratic_moments, quadratic_users, stationary

__all__ = ["QuadraticUsers", "quadratic_moments", "quadratic_users", "stationary"]
