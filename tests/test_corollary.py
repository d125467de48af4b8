"""Corollary 4.6: its tables by a second route, the recipe, and the least number of rounds by brute force and in 60
digits.
"""

from __future__ import annotations

import math
from decimal import Decimal as De
from decimal import localcontext
from fractions import Fraction as Fr

import numpy as np
import pytest
from reference.corollary_4_6 import PRINTED, TABLE

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.claims import corollary_4_6 as corollary
from pfl_theory.claims.corollary_4_6 import LEAST
from pfl_theory.judging import instance_one
from pfl_theory.rigour.balls import Ball
from pfl_theory.theory import rates
from pfl_theory.theory.master import CERTIFIED, Terms, linear
from pfl_theory.theory.rates import average_square, least_rounds, parameters, recipe

PAPER = claims.get("corollary-4.6", "paper", "")
ALL_USERS, SOME_USERS, NECESSARY, SUFFICIENT = (
    claims.get("corollary-4.6", "corrected", form)
    for form in ("all-users", "some-users", "rounds-necessary", "rounds-sufficient")
)


# --- the corollary's parameters ---


def test_parameters():
    assert [parameters(10.0**-k)[:2] for k in (2, 4, 6, 8)] == [
        (10, 10**3),
        (100, 10**6),
        (1000, 10**9),
        (10000, 10**12),
    ]
    assert parameters(0.02) == (8, 354, 0.02)  # ceil of 7.07 and of 353.55
    for epsilon in (0.3, 0.02, 3e-5):
        tau, K, beta = parameters(epsilon)
        assert tau**2 * Fr(epsilon) >= 1 > (tau - 1) ** 2 * Fr(epsilon)
        assert K**2 * Fr(epsilon) ** 3 >= 1 > (K - 1) ** 2 * Fr(epsilon) ** 3
        assert beta == epsilon


@pytest.mark.parametrize(("k", "left", "everyone"), TABLE)
def test_left_sides_at_the_corollarys_parameters(k, left, everyone):
    """Instance I from w_0 = 1: of order sqrt(eps) where one of two users takes part, of order eps where both do."""
    epsilon = 10.0**-k
    assert corollary.reached(epsilon) == pytest.approx(left, rel=PRINTED)
    assert corollary.reached(epsilon, 2) / epsilon == pytest.approx(everyone, abs=0.6e-9)
    verdict = PAPER.judge(corollary.on_instance_one(epsilon))
    assert verdict.outcome == "VIOLATED"
    assert verdict.ratio == pytest.approx(left / epsilon, rel=1e-8)
    assert PAPER.judge(corollary.on_instance_one(epsilon, 2)).outcome == "INCONCLUSIVE"


def test_ten_of_fifty_users():
    """n = 50, r = 0.2, p = 4/49: LHS/eps."""
    c = tuple(np.resize([-1.0, 1.0], 50).tolist())
    for k, value in ((2, 0.897397), (4, 4.568086), (6, 41.302725)):
        tau, K, beta = parameters(10.0**-k)
        left = instance_one.closed_form(tau=tau, rounds=K, beta=beta, c=c, participation=10, w0=1.0).M2
        assert float(left) / 10.0**-k == pytest.approx(value, abs=0.51e-6)


def test_limit_of_the_left_side():
    """LHS/sqrt(eps) -> L p gamma^2/2."""
    for k, value in ((2, 0.533984879), (4, 0.503337741), (6, 0.500333375), (8, 0.500033334)):
        assert corollary.reached(10.0**-k) / 10 ** (-k / 2) == pytest.approx(value, rel=PRINTED)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (corollary._wrong_parameters, "are tau = 10, K = 1000, beta = 0.01: here 10, 10, 0.01"),
        (lambda: instance_one.instance(tau=10, rounds=1000, beta=0.01), "no accuracy epsilon"),
        (lambda: corollary.on_instance_one(0.04), "must be at most 0.1: it is 0.2"),
    ],
)
def test_what_does_not_apply_says_why(make, text):
    for claim in (PAPER, SOME_USERS):
        verdict = claim.judge(make())
        assert verdict.outcome == "NOT_APPLICABLE"
        assert text in verdict.reason


def test_all_users_must_take_part_in_the_statement_about_all():
    assert "1 of 2" in ALL_USERS.judge(corollary.on_instance_one(1e-2)).reason


def test_right_sides_are_the_theorems_at_the_corollarys_parameters():
    """The rate at r < 1 is no less than Theorem 2's linear form; both rates term by term, where roots are whole."""
    for k in (2, 4, 6):
        epsilon = 10.0**-k
        tau, K, beta = parameters(epsilon)
        L, delta, parts = 0.7, 1.3, {"gamma2": 2.0, "v2": 3.0, "b2": 5.0}
        terms = Terms(
            Ball(beta * L), tau, 2, Ball(0.25), Ball(delta / (beta * tau * K)), *(Ball(v) for v in parts.values())
        )
        rate = float(rates.rate_at_part(Ball(epsilon), terms, Ball(L), Ball(delta)))
        # tau = eps^(-1/2): s = sqrt(eps) L, and the terms are those of the theorem with tau - 1 and tau(tau - 1)
        # rounded up
        c0, c1, c2v, c2g, c3, c4 = CERTIFIED[1.0, "ii"]
        theorem = float(linear(terms, CERTIFIED[1.0, "ii"]))
        assert rate >= theorem
        root = math.sqrt(epsilon)
        upper = (
            c0 * delta * epsilon
            + c1 * epsilon * L / 2 * 3
            + c2v * (epsilon * L) ** 2 / root * 3
            + c2g * epsilon * L**2 * (1 + root) * 2
        )
        assert rate == pytest.approx(upper + c3 * L * 0.25 * 2 * (root + epsilon) + c4 * 5, rel=1e-12)
        full = float(rates.rate_at_full(Ball(epsilon), terms, Ball(L), Ball(delta)))
        assert full == pytest.approx(epsilon * (2 * delta + L * 3 + L**2 * 2 * (1 + root)) + 1.961 * 5, rel=1e-12)


@pytest.mark.parametrize("epsilon", [0.003, 0.007, 0.0099])
def test_rates_hold_where_roots_are_not_whole(epsilon):
    """tau and K are rounded up: the rate's right side must still be no less than the theorem's."""
    tau, K, beta = parameters(epsilon)
    L = 1.0
    for only in ("Phi", "gamma2", "v2", "b2"):
        given = {name: Ball(float(name == only)) for name in ("gamma2", "v2", "b2")}
        delta = float(only == "Phi")
        for p, m in ((1.0, 1), (0.0, 4)):
            terms = Terms(
                Ball(beta * L),
                tau,
                m,
                Ball(p),
                Ball(delta / (beta * tau * K)),
                given["gamma2"],
                given["v2"],
                given["b2"],
            )
            rate = float(rates.rate_at_part(Ball(epsilon), terms, Ball(L), Ball(delta)))
            assert rate >= float(linear(terms, CERTIFIED[1.0, "ii"])) * (1 - 1e-12), only
            if p == 0.0:
                full = float(rates.rate_at_full(Ball(epsilon), terms, Ball(L), Ball(delta)))
                proposition = (
                    2 * float(terms.Phi)
                    + beta * float(given["v2"])
                    + beta**2 * tau * (tau - 1) * float(given["gamma2"])
                )
                assert full >= (proposition + 1.961 * float(given["b2"])) * (1 - 1e-12), only


# --- the recipe ---


@pytest.mark.parametrize(
    ("epsilon", "n", "m", "s", "tau", "K"),
    [
        (1e-2, 50, 10, 0.0126289, 2, 97396),
        (1e-3, 50, 10, None, 2, 9739592),
        (1e-3, 50, 50, 0.00992583, 3, 1239191),
        (1e-4, 50, 50, None, 8, 39186650),
        (1e-4, 1000, 100, None, 2, 107486487),
    ],
)
def test_recipe_comes_out_as_on_the_page(epsilon, n, m, s, tau, K):
    found = recipe(epsilon, n=n, m=m, delta=1.0)
    assert (found.tau, found.rounds) == (tau, K)
    if s is not None:
        assert found.s == pytest.approx(s, rel=1e-5)
    # K is the largest of three, constants 123, 119.3 and 39.19
    p = (n - m) / (m * (n - 1))
    three = 123 / epsilon, 119.3 * p / epsilon**2, 39.19 / epsilon**1.5
    assert max(three) == pytest.approx(K, rel=1e-3)


def bound_of(epsilon, n, m, delta, L, gamma2, v2):
    """What Theorem 2 says at the recipe's parameters."""
    s, tau, K = recipe(epsilon, n=n, m=m, delta=delta, L_F=L, gamma2=gamma2, v2=v2)
    beta = s / (tau * L)
    p = (n - m) / (m * (n - 1)) if n > 1 else 0.0
    terms = Terms(Ball(s / tau), tau, m, Ball(p), Ball(delta / (beta * tau * K)), Ball(gamma2), Ball(v2), Ball(0.0))
    return s, tau, K, float(linear(terms, CERTIFIED[1.0, "ii"]))


def test_recipe_reaches_the_accuracy():
    assert bound_of(1e-2, 50, 10, 1.0, 1.0, 1.0, 1.0)[3] / 1e-2 == pytest.approx(0.580692, abs=0.51e-6)
    rng = np.random.default_rng(5)
    for _ in range(300):
        n = int(rng.integers(1, 60))
        m = int(rng.integers(1, n + 1))
        delta, L, gamma2, v2 = (float(10 ** rng.uniform(-2, 2)) for _ in range(4))
        gamma2, v2 = gamma2 * (rng.random() < 0.8), v2 * (rng.random() < 0.8)
        epsilon = float(10 ** rng.uniform(-5, 0))
        s, tau, K, bound = bound_of(epsilon, n, m, delta, L, gamma2, v2)
        assert s <= 0.1
        assert K >= 1
        assert bound <= epsilon * (1 + 1e-12)
        if v2 == 0:
            assert tau == 1


def test_local_steps_of_the_recipe_do_not_grow_where_some_users_take_part():
    """m p = (1 - r) n/(n - 1); tau tends to c1 v^2/(c3 m p gamma^2) or the like, and at r = 1 it grows."""
    assert 10 * Fr(40, 10 * 49) == Fr(4, 5) * Fr(50, 49)
    some = [recipe(10.0**-k, n=50, m=10, delta=1.0).tau for k in range(2, 9)]
    everyone = [recipe(10.0**-k, n=50, m=50, delta=1.0).tau for k in range(2, 9)]
    assert max(some) <= 3
    assert everyone == sorted(everyone)
    assert everyone[-1] > 50
    # tau K ~ 25 c0 c1 L Delta v^2/(m eps^2) when the first entry of x_max is the smaller
    c0, c1 = CERTIFIED[1.0, "ii"][:2]
    found = recipe(1e-8, n=1000, m=4, delta=1.0, gamma2=1e-6)
    assert found.tau > 20
    assert found.tau * found.rounds == pytest.approx(25 * c0 * c1 / (4 * 1e-16), rel=1 / found.tau)


# --- rounds ---


def exact_average(u, K, A, P):
    """X^2 on instance I in Decimals, from sums of powers of q = 1 - u."""
    q = 1 - u
    geo = (1 - (2 * K * q.ln()).exp()) / (K * (1 - q * q))
    return A * geo + P * (1 - q) / (1 + q) * (1 - geo)


def test_average_square_is_the_average_over_rounds():
    """The formula against K rounds of the recursion, in fractions."""
    A, P = Fr(3), Fr(2)
    for u, K in ((Fr(1, 3), 4), (Fr(1, 10), 7), (Fr(9, 10), 2), (Fr(1, 2), 1)):
        second, total = A, Fr(0)
        for _ in range(K):
            total += second
            second = (1 - u) ** 2 * second + u * u * P
        assert float(average_square(np.array([float(u)]), K, 3.0, 2.0)[0]) == pytest.approx(float(total / K), rel=1e-13)
        with localcontext() as context:
            context.prec = 40
            near = exact_average(De(u.numerator) / De(u.denominator), De(K), De(3), De(2))
            assert float(near) == pytest.approx(float(total / K), rel=1e-15)


def test_the_family_depends_on_the_steps_through_a_rounds_factor_only():
    """w_0 = sqrt(2 Delta/L): X^2 is the same for all (beta, tau) of one q = (1 - beta L)^tau; M^2 >= q_{tau-1}^2
    X^2.
    """
    for tau in (1, 2, 5, 40):
        beta = -math.expm1(math.log1p(-0.3) / tau)
        form = instance_one.closed_form(tau=tau, rounds=37, beta=beta, w0=0.8)
        want = float(average_square(np.array([0.3]), 37, 0.64, 1.0)[0])
        assert float(form.X2) == pytest.approx(want, rel=1e-12)
        assert float(form.M2) >= (1 - beta) ** (2 * (tau - 1)) * want * (1 - 1e-12)


def brute_force(epsilon, A, P, most=5000):
    """First K for which some q of a fine grid does it: every K in turn."""
    u = np.concatenate([np.linspace(1e-4, 1, 20_000), np.geomspace(1e-8, 1e-3, 4000)])
    q2 = (1 - u) ** 2
    power, total = np.ones_like(u), np.zeros_like(u)  # q^{2k} and its sum
    for K in range(1, most):
        total += power
        power = power * q2
        geo = total / K
        if bool((A * geo + P * u / (2 - u) * (1 - geo) <= epsilon).any()):
            return K
    raise AssertionError("more rounds than brute force looks at")


SMALL_CASES = [
    # the hypotheses of Proposition 5
    (1.0, 1.0, 0.1),
    (1.0, 1.0, 0.05),
    (1.0, 0.5, 0.1),
    (2.0, 0.3, 0.1),
    (1.0, 0.05, 0.02),
    (3.0, 2.5, 0.2),
    (1.0, 1.0, 0.3),
    (1.0, 1.0, 0.6),
    (1.0, 3.0, 0.9),
    (1.0, 5.0, 0.1),
    (1.0, 0.001, 0.05),
    (1.0, 0.01, 0.05),
    (4.0, 0.001, 0.5),
    (1.0, 1.0, 1.5),
    (1.0, 2.0, 1.0),
]


@pytest.mark.parametrize(("A", "P", "epsilon"), SMALL_CASES)
def test_least_rounds_are_those_of_brute_force(A, P, epsilon):
    """Outside the hypotheses too: epsilon beyond 2 L Delta, or large against p gamma^2."""
    low, high = least_rounds(epsilon, A, P)
    found = brute_force(epsilon, A, P)
    assert low <= found <= high
    assert high <= found + 1


def least_in_decimals(epsilon, A, P):
    """Least real K for which the smallest X^2 over q is epsilon: golden section in log u within bisection in K."""
    golden = (De(5).sqrt() - 1) / 2

    def smallest(K):
        scale = (A / (P * K)).sqrt()
        a, b = (scale / 10).ln(), min(scale * 10, De("0.999")).ln()
        one, two = b - golden * (b - a), a + golden * (b - a)
        f, g = exact_average(one.exp(), K, A, P), exact_average(two.exp(), K, A, P)
        for _ in range(60):
            if f < g:
                b, two, g = two, one, f
                one = b - golden * (b - a)
                f = exact_average(one.exp(), K, A, P)
            else:
                a, one, f = one, two, g
                two = a + golden * (b - a)
                g = exact_average(two.exp(), K, A, P)
        return min(f, g)

    low, high = A * P / epsilon**2 / 2, 2 * A * P / epsilon**2
    for _ in range(44):
        middle = (low + high) / 2
        low, high = (low, middle) if smallest(middle) <= epsilon else (middle, high)
    return high


@pytest.mark.parametrize(
    ("epsilon", "value"), [("0.05", 1.024222), ("0.01", 1.004969), ("0.001", 1.000500), ("0.0001", 1.000050)]
)
def test_least_rounds_in_sixty_digits(epsilon, value):
    """K eps^2 for A = P = 1, not rounded to whole rounds."""
    with localcontext() as context:
        context.prec = 60
        real = least_in_decimals(De(epsilon), De(1), De(1))
        assert float(real * De(epsilon) ** 2) == pytest.approx(value, abs=0.51e-6)
        whole = math.ceil(real)
    low, high = least_rounds(float(epsilon))
    assert low <= whole <= high
    assert high - low <= max(1, 1e-4 * high)
    if epsilon == "0.0001":
        assert pytest.approx(whole, rel=1e-6) == LEAST  # known_ratio is stated to 1e-4


def smallest_average(K, A, P):
    """Smallest X^2 over q, by a grid and a finer one about its best point."""
    u = np.geomspace(1e-9, 1, 4001)[:-1]
    k = int(np.argmin(average_square(u, K, A, P)))
    fine = np.linspace(u[max(k - 1, 0)], u[min(k + 1, len(u) - 1)], 2001)
    return float(average_square(fine, K, A, P).min())


@pytest.mark.parametrize("A", [0.2, 1.0, 30.0])
def test_proposition_5_before_the_limit(A):
    """P <= A and eps <= min(A/10, P/2): one round fewer than A P/eps^2 is never enough, whatever q."""
    for share in (1e-4, 1e-2, 0.1, 0.3, 0.7, 1.0):
        P = A * share
        for part in (1.0, 0.7, 0.3, 0.05, 0.003):
            epsilon = part * min(A / 10, P / 2)
            K = A * P / epsilon**2
            assert smallest_average(K, A, P) > epsilon
            enough = math.ceil(A * (P + epsilon) / epsilon**2)
            assert smallest_average(enough, A, P) <= epsilon * (1 + 1e-9)


def test_proposition_5_fails_beyond_its_hypotheses():
    """P = 5 A at eps = A/10, and P = 3 A at eps = 0.9 A: fewer rounds than A P/eps^2 do; the claim says that it does
    not apply.
    """
    for A, P, epsilon, least in ((1.0, 5.0, 0.1, 485), (1.0, 3.0, 0.9, 2)):
        assert brute_force(epsilon, A, P) == least < A * P / epsilon**2
    verdict = NECESSARY.judge(corollary.for_rounds(0.01, w0=0.44))  # A = 0.1936, P = 1
    assert verdict.outcome == "NOT_APPLICABLE"
    assert "at most 2 L Delta: it is 1 against 0.1936" in verdict.reason
    verdict = NECESSARY.judge(corollary.for_rounds(0.2))
    assert verdict.outcome == "NOT_APPLICABLE"
    assert "at most 0.1: it is 0.2" in verdict.reason


def test_claims_on_rounds_agree_with_brute_force():
    for epsilon, centres, participation, w0 in ((0.05, (-1.0, 1.0), 1, 1.0), (0.02, (-0.5, -0.5, 1.0), 2, 0.9)):
        n = len(centres)
        P = (n - participation) / (participation * (n - 1)) * float(np.square(centres).mean())
        least = brute_force(epsilon, w0**2, P)
        instance = corollary.for_rounds(epsilon, centres, participation, w0)
        one, two = NECESSARY.judge(instance), SUFFICIENT.judge(instance)
        assert one.outcome == two.outcome == "HOLDS"
        assert one.rhs.lower <= least <= one.rhs.upper
        assert two.lhs.lower <= least <= two.lhs.upper
        assert one.lhs.middle == pytest.approx(w0**2 * P / epsilon**2, rel=1e-9)
        assert two.rhs.middle == math.ceil(round(w0**2 * (P + epsilon) / epsilon**2, 6))


def test_a_run_of_the_recipe_on_the_family_reaches_the_accuracy():
    """Instance I, no noise: M^2 in closed form at the recipe's parameters."""
    for epsilon in (1e-1, 1e-2):
        found = recipe(epsilon, n=2, m=1, delta=0.5, v2=0.0)
        assert found.tau == 1
        form = instance_one.closed_form(tau=1, rounds=found.rounds, beta=found.s, w0=1.0)
        assert float(form.M2) <= epsilon
        assert found.rounds >= least_rounds(epsilon)[0]
    run = pfl.run(
        pfl.FedAvg(beta=found.s, local_steps=1, participation=1), instance_one.users(), rounds=50, w0=[1.0], seed=0
    )
    assert abs(run.w[0]) <= 1.0
