"""Left sides of Corollary 4.6 on instance I, as the theory prints them."""

from __future__ import annotations

PRINTED = 6e-9  # nine significant digits

TABLE = [  # k, LHS, r = 1: LHS/eps
    (2, 0.0533984879, 0.502512563),
    (4, 0.00503337741, 0.500025001),
    (6, 0.000500333375, 0.50000025),
    (8, 5.00033334e-05, 0.500000002),
]
