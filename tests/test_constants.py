"""Constants are reached: where a supremum is attained or approached, a witness comes to 0.99 of it. Numbers:
docs/theory/constants.md#5.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from pfl_theory import Constant, Federation, Problem
from pfl_theory.errors import InputError
from pfl_theory.federations import concept_shift, concept_shift_from_laws, concept_shift_gamma_G
from pfl_theory.losses import LeastSquares, LogCosh, Logistic, Quadratic, Softmax, logistic
from pfl_theory.losses.logistic import feature_lipschitz
from pfl_theory.losses.row_moments import largest_eigenvalue, row_moments

PHI = math.log(2 + math.sqrt(3))  # where |sigma''| is largest
D1_X, D1_Y = [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], [1, 0, 1]
D2_X = [[1.0, 0.0], [1.0, 2.0]]
ORTHOGONAL = np.array([[0.0, 1.0], [2.0, 0.0]])


def one_user(loss, x, y=None, **keywords):
    return Problem(
        loss, Federation.from_arrays([np.asarray(x, dtype=float)], None if y is None else [np.asarray(y)], **keywords)
    )


def top(problem, w):
    return np.abs(np.linalg.eigvalsh(problem.hessian(w)[0])).max()


def slope(problem, w, v, h=1e-4):
    """|D^3 f(w)[v, v, v]| by a difference: at most rho for a unit v."""
    v = np.asarray(v) / np.linalg.norm(v)
    return abs(v @ (problem.hvp(w + h * v, v)[0] - problem.hvp(w - h * v, v)[0])) / (2 * h)


def reaches(found, constant, share=0.99):
    claimed = constant.max()
    assert share * claimed <= found <= claimed * (1 + 1e-9) + 1e-12, (
        f"{found} found, {claimed} claimed ({constant.reason})"
    )


# -- what a constant is
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "c",
    [
        Constant.none(3, "grows linearly; give radius="),
        Constant.lower([1.0, 2.0], "searched"),
        Constant.exact([1.0, np.inf], "an infinite value"),
    ],
)
def test_what_is_not_known_from_above_may_not_enter_a_bound(c):
    assert not c.usable
    with pytest.raises(
        InputError,
        match=f"^B is not known from above .*{c.reason}.* a bound needs an exact value or a proved upper bound$",
    ):
        c.bound("B")


@pytest.mark.parametrize("make", [Constant.exact, Constant.upper])
def test_what_is_known_from_above_may(make):
    c = make([1.0, 3.0], "formula")
    assert c.usable
    assert c.bound("L") == c.max() == 3.0
    assert c.how == make.__name__
    assert make(2.0, "one number").values.shape == (1,)


def test_constant_keeps_its_standing_when_something_is_added():
    c = Constant.exact([1.0, 3.0], "formula").plus(0.5, "penalty")
    assert (c.values.tolist(), c.how, c.reason) == ([1.5, 3.5], "exact", "formula; penalty")
    assert Constant.exact(1.0, "formula").plus(1.0, "penalty", "upper").how == "upper"
    assert not Constant.none(1, "grows").plus(1.0, "penalty").usable


def test_bad_constants_are_refused():
    with pytest.raises(InputError, match="NaN"):
        Constant.exact([np.nan], "?")
    with pytest.raises(InputError, match="how = 'guess'; choose one of 'exact', 'upper', 'lower', 'none'"):
        Constant(np.ones(1), "guess", "?")


# -- quadratics [theory 5.3, 5.4] --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "alpha", "meta"),
    [
        (np.diag([2.0, -1.0]), 0.5, 2.25),
        (np.diag([1.0, 3.0]), 0.25, 0.5625),
        (-3.0 * np.eye(2), 1 / 3, 12.0),
        (np.diag([1.0, 0.2]), 1.0, 0.128),
    ],
)
def test_quadratic_meta_smoothness(a, alpha, meta, rng):
    """The printed values; and it is the top eigenvalue of the Hessian of F_i, taken from meta-gradients."""
    problem = one_user(Quadratic(a), rng.normal(size=(4, 2)))
    assert problem.loss.meta_smoothness(problem.federation, alpha)[0] == pytest.approx(meta, rel=1e-12)
    w = rng.normal(size=2)
    hessian = np.stack(
        [problem.meta_gradient(w + e, alpha)[0] - problem.meta_gradient(w, alpha)[0] for e in np.eye(2)], axis=1
    )
    assert np.abs(np.linalg.eigvalsh(hessian)).max() == pytest.approx(meta, rel=1e-12)


def test_meta_smoothness_four_l_is_attained():
    problem = one_user(Quadratic(-2.0), [[0.0, 0.0]])
    assert problem.loss.meta_smoothness(problem.federation, 0.5)[0] == 4 * problem.constants()["L"].max() == 8.0


def test_quadratic_noise_and_heterogeneity_are_exact(rng):
    a = np.array([[2.0, 0.5], [0.5, -1.0]])
    fed = Federation.from_arrays([rng.normal(size=(m, 2)) for m in (3, 5)], sample_weight=[[0.5, 0.2, 0.3], [0.2] * 5])
    constants = Problem(Quadratic(a), fed).constants()
    problem = Problem(Quadratic(a), fed)
    for i in range(2):
        z, weights = fed[i].points, fed[i].weights
        for w in rng.normal(size=(3, 2)):
            g = (w - z) @ a
            assert weights @ ((g - weights @ g) ** 2).sum(1) == pytest.approx(
                constants["sigma_G"].values[i] ** 2, rel=1e-12
            )
    for w in 10 * rng.normal(size=(3, 2)):
        assert problem.gamma_G(w) == pytest.approx(constants["gamma_G"].max(), rel=1e-10)
    assert (constants["gamma_G"].how, constants["gamma_H"].how, constants["gamma_H"].max(), constants["rho"].max()) == (
        "exact",
        "exact",
        0.0,
        0.0,
    )
    own = Problem(Quadratic([a, np.eye(2)]), fed)
    assert own.constants()["gamma_G"].how == "none"
    assert own.gamma_H([0.0, 0.0]) == pytest.approx(own.constants()["gamma_H"].max(), rel=1e-12)


def test_quadratic_and_least_squares_on_a_ball():
    problem = one_user(Quadratic(np.diag([2.0, -3.0])), [[0.5, 1.0], [1.5, 3.0]])
    constants = problem.constants(radius=2.0, center=[1.0, 2.0])  # around the mean
    reaches(np.linalg.norm(problem.gradient([1.0, 4.0])), constants["B"], 1 - 1e-12)
    reaches(top(problem, [0.0, 0.0]), constants["L"], 1 - 1e-12)
    assert problem.constants()["B"].how == "none"
    assert one_user(Quadratic(0.0), [[1.0]]).constants()["B"].max() == 0.0

    x = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    problem = one_user(LeastSquares(), x, x @ [1.0, -1.0])
    constants = problem.constants(radius=3.0, center=[1.0, -1.0])
    values, vectors = np.linalg.eigh(x.T @ x / 3)
    reaches(np.linalg.norm(problem.gradient([1.0, -1.0] + 3 * vectors[:, -1])), constants["B"], 1 - 1e-12)
    reaches(top(problem, [5.0, 0.0]), constants["L"], 1 - 1e-12)
    assert constants["L"].max() == pytest.approx(values[-1], rel=1e-12)


def test_least_squares_in_the_data():
    """2RX + Y and 2X, at x parallel to w and y = -Y; X/kappa by the target."""
    x_max, y_max, radius = 2.0, 1.5, 3.0
    problem = one_user(LeastSquares(), [[0.0, x_max], [1.0, 0.0]], [y_max, 0.0])
    constants = problem.constants(radius=radius, kappa=0.1)
    w, x, near = np.array([0.0, radius]), np.array([0.0, x_max]), np.array([0.0, x_max - 1e-4])
    pair = Problem(LeastSquares(), Federation.from_arrays([[x], [near], [x]], [[-y_max], [-y_max], [-y_max + 1e-4]]))
    g, h = pair.gradient(w), pair.hessian(w)
    assert np.linalg.norm(g[0] - g[1]) / 1e-4 == pytest.approx(2 * radius * x_max + y_max, rel=1e-3)
    reaches(np.linalg.norm(g[0] - g[1]) / 1e-4, problem.constants(radius=radius, kappa=1.0)["lip_gradient_z"])
    reaches(np.linalg.norm(g[0] - g[2]) / (0.1 * 1e-4), constants["lip_gradient_z"])
    reaches(np.linalg.norm(h[0] - h[1], 2) / 1e-4, constants["lip_hessian_z"])


# -- logistic [theory 5.5]
# -------------------------------------------------------------------------------------------------------


def test_logistic_d1():
    problem = one_user(Logistic(), D1_X, D1_Y)
    constants = problem.constants()
    assert constants["B"].how == "exact"
    assert constants["B"].max() == pytest.approx(math.sqrt(5) / 3, rel=1e-12)
    assert constants["L"].max() == pytest.approx((7 + math.sqrt(13)) / 24, rel=1e-12)
    reaches(top(problem, [0.0, 0.0]), constants["L"], 1 - 1e-12)
    signed = np.array(D1_X) * (2 * np.array(D1_Y) - 1)[:, None] / 3
    subsets = [sum((signed[j] for j in range(3) if code >> j & 1), np.zeros(2)) for code in range(8)]
    ray = -max(subsets, key=np.linalg.norm)
    reaches(np.linalg.norm(problem.gradient(200 * ray)), constants["B"])
    moments = row_moments(problem.federation)
    assert (moments.lmax_s[0] ** 0.5, moments.m1[0]) == (
        pytest.approx(1.329508, abs=1e-6),
        pytest.approx(1.471405, abs=1e-6),
    )
    assert constants["rho"].max() == pytest.approx(0.310779, abs=1e-6)  # the S3 bound
    assert 0.295458 <= constants["rho"].max() <= 0.379397  # the true supremum, and the M3 bound
    assert moments.m3[0] / (6 * math.sqrt(3)) == pytest.approx(0.379397, abs=1e-6)
    assert (
        65 / 36 * (1 - 1e-12) <= constants["sigma_G"].max() ** 2 <= 1.005 * 65 / 36
    )  # the best centre, and the library's on a line
    data = Problem(Logistic(), Federation.from_arrays([[x] for x in D1_X], [[y] for y in D1_Y]))
    noise = max(
        np.var(data.gradient(1e3 * np.array([math.cos(t), math.sin(t)])), axis=0).sum()
        for t in np.linspace(0, 2 * math.pi, 721)
    )
    assert noise == pytest.approx(16 / 9, rel=1e-6)
    reaches(math.sqrt(noise), constants["sigma_G"])
    assert constants["sigma_H"].max() ** 2 == pytest.approx(7 / 16, rel=1e-12)


def test_logistic_with_too_many_rows_to_enumerate():
    constants = one_user(Logistic(), D1_X * 5, D1_Y * 5).constants()
    assert (constants["B"].how, constants["B"].max()) == ("upper", pytest.approx(1.037432, abs=1e-6))


def test_logistic_one_feature(rng):
    """One feature: the gradient bound without enumeration, and the data constants on the whole space."""
    x, y = rng.normal(size=30), rng.integers(0, 2, 30)
    problem = one_user(Logistic(), x[:, None], y)
    constants = problem.constants(kappa=1e6)
    assert constants["B"].how == "exact"
    reaches(max(abs(problem.gradient([w])[0, 0]) for w in (-1e4, 1e4)), constants["B"])
    u = brentq(lambda u: u * math.tanh(u / 2) - 2, 1, 4)
    sup = 1 / (1 + math.exp(-u)) + u / (4 * math.cosh(u / 2) ** 2)
    assert sup <= logistic.ONE_FEATURE_LIP_Z <= sup + 1e-9
    assert logistic.ONE_FEATURE_LIP_Z == constants["lip_gradient_z"].max() == pytest.approx(1.0998393201, abs=2e-10)
    w, here = u / 1.0, 1.0
    pair = Problem(Logistic(), Federation.from_arrays([[here - 5e-5], [here + 5e-5]], [[0], [0]]))
    reaches(np.ptp(pair.gradient([w])) / 1e-4, constants["lip_gradient_z"])
    x_max = np.abs(x).max()
    pair = Problem(Logistic(), Federation.from_arrays([[x_max], [x_max - 1e-4]], [[0], [0]]))
    reaches(np.ptp(pair.hessian([0.0])) / 1e-4, constants["lip_hessian_z"])


def test_logistic_rho_on_orthogonal_rows():
    """Independent rows: T3/(6 sqrt 3) is attained; orthogonal ones: T3 is the eigenvalue too."""
    problem = one_user(Logistic(), ORTHOGONAL, [0, 1])
    w = np.array([PHI / 2, 0.0])
    reaches(slope(problem, w, [1.0, 0.0]), problem.constants()["rho"])


def third_moment(x):
    """T3 = sup_v E|<x, v>|^3 in the plane, on a grid of directions."""
    angle = np.linspace(0, np.pi, 200_001)
    return (np.abs(np.array(x) @ [np.cos(angle), np.sin(angle)]) ** 3).mean(0).max()


def test_logistic_d2_rho():
    assert third_moment(D2_X) == pytest.approx(5.637166, abs=1e-6)
    problem = one_user(Logistic(), D2_X, [0, 1])
    w = np.linalg.solve(np.array(D2_X), [PHI, PHI])  # both margins at the inflection point
    found = slope(problem, w, [0.462316, 0.886715])
    assert found == pytest.approx(0.542437, abs=1e-6)
    reaches(found, problem.constants()["rho"], 0.97)  # E||x|| x x^T in place of T3 costs 2 %


def test_nonconvex_term():
    names = ("first", "second", "third")
    derivatives = dict(
        zip(
            names,
            (
                lambda u: 2 * u / (1 + u * u) ** 2,
                lambda u: 2 * (1 - 3 * u * u) / (1 + u * u) ** 3,
                lambda u: -24 * u * (1 - u * u) / (1 + u * u) ** 4,
            ),
            strict=True,
        )
    )
    u = np.linspace(-4, 4, 400_001)
    for name, sup, value in zip(names, logistic.SUP_NONCONVEX, (0.6495190528, 2.0, 4.6685592842), strict=True):
        assert sup == pytest.approx(value, abs=1e-9)
        assert sup * (1 - 1e-8) <= np.abs(derivatives[name](u)).max() <= sup * (1 + 1e-15)
    problem = one_user(Logistic(nonconvex=0.7), [[0.0, 0.0]], [0])  # the term alone
    constants = problem.constants()
    at = np.full(2, 1 / math.sqrt(3))
    reaches(np.linalg.norm(problem.gradient(at)), constants["B"], 1 - 1e-12)
    reaches(top(problem, [0.0, 0.0]), constants["L"], 1 - 1e-12)
    reaches(slope(problem, np.array([math.tan(math.pi / 10), 0.0]), [1.0, 0.0]), constants["rho"])


def test_nonconvex_sum_and_l2_are_attained_at_zero(rng):
    x, y = rng.normal(size=(6, 3)), rng.integers(0, 2, 6)
    problem = one_user(Logistic(l2=0.3, nonconvex=0.4), x, y)
    reaches(top(problem, np.zeros(3)), problem.constants()["L"], 1 - 1e-12)
    assert problem.constants()["L"].max() == pytest.approx(
        np.linalg.eigvalsh(x.T @ x / 6)[-1] / 4 + 0.3 + 0.8, rel=1e-12
    )


@pytest.mark.parametrize(
    ("s", "printed"), [(0.5, 0.739961), (1, 0.927671), (2, 1.091235), (4, 1.309442), (10, 2.604934), (40, 10.025078)]
)
def test_feature_lipschitz_table(s, printed):
    assert logistic.feature_lipschitz(s) == pytest.approx(printed, abs=5e-6 * max(1, printed))
    found = -min(
        minimize_scalar(lambda u: -jacobian_norm(u, s), bounds=b, method="bounded", options={"xatol": 1e-10}).fun
        for b in ((-s, 0), (0, s))
    )
    assert found <= logistic.feature_lipschitz(s) <= found * (1 + 3e-6)


def jacobian_norm(u, s):
    """Norm of a I + b x w^T with ||x|| = s, ||w|| = 1, <w, x> = u, straight from the matrix; w unit is no loss, s =
    ||x|| ||w||.
    """
    a, b = 1 / (1 + math.exp(-u)), 1 / (4 * math.cosh(u / 2) ** 2)
    w, x = np.array([1.0, 0.0]), np.array([u, math.sqrt(max(s * s - u * u, 0.0))])
    return np.linalg.norm(a * np.eye(2) + b * np.outer(x, w), 2)


@pytest.mark.parametrize(
    ("s", "printed"), [(0.5, 0.5), (1, 0.5), (2, 0.5), (4, 0.531481), (10, 1.008244), (40, 3.859540)]
)
def test_logistic_hessian_in_the_data_is_bounded_by_the_table(s, printed):
    constants = one_user(Logistic(), [[1.0, 0.0]], [1]).constants(radius=float(s), kappa=1.0)
    assert printed <= constants["lip_hessian_z"].max() <= 0.5 + s / (6 * math.sqrt(3)) + 1e-12
    assert constants["lip_gradient_z"].max() == max(1.0, logistic.feature_lipschitz(s))


# -- softmax [theory 5.6]
# -----------------------------------------------------------------------------------------------------------


def test_softmax_two_classes():
    problem = one_user(Softmax(2), ORTHOGONAL, [0, 1])
    constants = problem.constants()
    assert constants["L"].how == "exact"
    reaches(top(problem, np.zeros(4)), constants["L"], 1 - 1e-12)
    v = np.array([1.0, -1.0]) / math.sqrt(2)
    direction = np.outer(v, [1.0, 0.0]).ravel()
    reaches(slope(problem, PHI / (2 * math.sqrt(2)) * direction, direction), constants["rho"])


def away(t, a):
    """Logits of the classes from the third on pushed down by t <a, x>, C = 3."""
    return -t * np.concatenate([np.zeros(2 * len(a)), a])


def test_softmax_three_classes_approach():
    positive = one_user(Softmax(3), D2_X, [0, 1])
    constants = positive.constants()
    assert constants["L"].how == "exact"
    assert constants["L"].max() == pytest.approx(1.309017, abs=1e-6)
    reaches(top(positive, away(30.0, np.array([1.0, 0.0]))), constants["L"])
    assert top(positive, np.zeros(6)) == pytest.approx(0.872678, abs=1e-6)
    # rho: rows 1 and 2 at the inflection gap, the third class away
    target = np.linalg.solve(np.array(D2_X), [PHI, PHI])
    w = np.concatenate([target / 2, -target / 2, np.zeros(2)]) + away(40.0, np.array([1.0, 0.0]))
    direction = np.concatenate([[0.462316, 0.886715], [-0.462316, -0.886715], [0.0, 0.0]])
    found = slope(positive, w, direction)
    assert found == pytest.approx(1.534242, abs=1e-5)
    reaches(found, constants["rho"], 0.97)
    orthogonal = one_user(Softmax(3), ORTHOGONAL, [0, 1])
    e = np.array([1.0, -1.0, 0.0]) / math.sqrt(2)
    direction = np.outer(e, [1.0, 0.0]).ravel()
    reaches(
        slope(orthogonal, PHI / (2 * math.sqrt(2)) * direction + away(40.0, np.ones(2)), direction),
        orthogonal.constants()["rho"],
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_softmax_gradient_along_a_ray(n_classes):
    problem = one_user(Softmax(n_classes), D2_X, [0, 1])
    constants = problem.constants()
    assert constants["B"].how == "exact"
    eye, best = np.eye(n_classes), np.zeros((n_classes, 2))
    for first in range(n_classes):
        for second in range(n_classes):
            g = ((eye[[first, second]] - eye[[0, 1]]) / 2).T @ np.array(D2_X)
            best = max(best, g, key=np.linalg.norm)
    reaches(np.linalg.norm(problem.gradient(100 * best.ravel())), constants["B"])
    many = one_user(Softmax(n_classes), D2_X * 7, [0, 1] * 7).constants()["B"]
    moments = row_moments(problem.federation)
    assert many.how == "upper"
    assert many.max() == pytest.approx(math.sqrt(2) * min(moments.m1[0], moments.lmax_s[0] ** 0.5), rel=1e-12)


def test_softmax_one_datum():
    x = np.array([[1.0, 2.0]])
    problem = one_user(Softmax(3), x, [0])
    constants = problem.constants()
    ray = np.outer([-1.0, 1.0, 0.0], x).ravel()
    reaches(np.linalg.norm(problem.gradient(30 * ray)), constants["B_datum"])
    reaches(np.linalg.norm(problem.gradient(30 * ray)), constants["B"])
    reaches(top(problem, away(30.0, np.array([0.0, 1.0]))), constants["L_datum"])


# -- log-cosh [theory 5.7]
# ------------------------------------------------------------------------------------------------------------


def test_log_cosh_location_values():
    problem = one_user(LogCosh(), [[-2.0], [2.0]])
    constants = problem.constants()
    printed = {"B": 1.0, "L": 0.500671, "rho": 0.385260}
    assert {name: constants[name].max() for name in printed} == pytest.approx(printed, abs=2e-6)
    assert constants["sigma_G"].max() ** 2 == pytest.approx(math.tanh(2) ** 2, rel=1e-12)
    assert math.tanh(2) ** 2 == pytest.approx(0.929349, abs=1e-6)
    u = np.linspace(-4, 4, 8001)
    reaches(max(top(problem, [w]) for w in u[::4]), constants["L"])
    reaches(max(slope(problem, np.array([w]), [1.0]) for w in u[::4]), constants["rho"])
    reaches(np.linalg.norm(problem.gradient([30.0])), constants["B"])
    g = np.array([Problem(LogCosh(), Federation.from_arrays([[z]])).gradient([0.0])[0, 0] for z in (-2.0, 2.0)])
    reaches(g.std(), constants["sigma_G"])


@pytest.mark.parametrize("c", [1.0, 0.4])
def test_log_cosh_one_datum(c):
    problem = one_user(LogCosh(c=c), [[0.3, -1.0]])
    constants = problem.constants()
    inflection = c * math.atanh(1 / math.sqrt(3))
    for name in ("L", "L_datum", "lip_gradient_z"):
        assert constants[name].max() == pytest.approx(1.0, abs=1e-6)
    for name in ("rho", "lip_hessian_z"):
        assert constants[name].max() == pytest.approx(0.7698003589 / c, abs=2e-6)
        reaches(slope(problem, np.array([0.3 + inflection, 5.0]), [1.0, 0.0], 1e-3 * c), constants[name])
    reaches(top(problem, [0.3, -1.0]), constants["L"])
    reaches(np.linalg.norm(problem.gradient([50.0, 50.0])), constants["B"])
    assert constants["B"].max() == constants["B_datum"].max() == pytest.approx(c * math.sqrt(2), rel=1e-12)


@pytest.mark.parametrize("c", [1.0, 0.5])
def test_log_cosh_regression(c):
    x = np.array(D2_X)
    problem = one_user(LogCosh("regression", c), x, x @ [1.0, 3.0])
    constants = problem.constants()
    assert (constants["B"].how, constants["B"].max()) == ("exact", pytest.approx(c * math.sqrt(2), rel=1e-12))
    reaches(np.linalg.norm(problem.gradient([300.0, 300.0])), constants["B"])
    reaches(top(problem, [1.0, 3.0]), constants["L"], 1 - 1e-12)  # w interpolates
    inflection = c * math.atanh(1 / math.sqrt(3))
    w = np.linalg.solve(x, x @ [1.0, 3.0] + inflection)
    found = slope(problem, w, [0.462316, 0.886715], 1e-4 * c)
    assert found == pytest.approx(4.339492 / c, abs=1e-5)
    reaches(found, constants["rho"], 0.97)
    aligned = one_user(LogCosh("regression", c), ORTHOGONAL, [0.0, 1.0])
    reaches(slope(aligned, np.array([(1 + inflection) / 2, 0.0]), [1.0, 0.0], 1e-4 * c), aligned.constants()["rho"])
    reaches(np.linalg.norm(aligned.gradient([300.0, 0.0])), Constant.exact(c * 1.0 * 2 / 2, "that row alone"))


@pytest.mark.parametrize(
    ("s", "gradient", "hessian"), [(1.0, 1.25, 64 / 27), (4.0, 4.0625, 4.5), (10.0, 10.025, 9.068378)]
)
@pytest.mark.parametrize("c", [1.0, 2.0])
def test_log_cosh_regression_in_the_data(s, gradient, hessian, c):
    """The table is for c = 1; with a scale w / c plays w, the gradient gains a factor c. Attained at x parallel to
    w.
    """
    constants = one_user(LogCosh("regression", c), [[1.0, 0.0]], [0.0]).constants(radius=s * c)
    assert constants["lip_gradient_z"].max() == pytest.approx(c * gradient, rel=1e-6)
    assert constants["lip_hessian_z"].max() == pytest.approx(hessian, rel=1e-6)
    if c == 1.0:
        t = 1 / (2 * s)
        pair = Problem(
            LogCosh("regression"), Federation.from_arrays([[[1.0, 0.0]], [[1 - 1e-5, 0.0]]], [[s - math.atanh(t)]] * 2)
        )
        g = pair.gradient([s, 0.0])
        reaches(np.linalg.norm(g[0] - g[1]) / 1e-5, constants["lip_gradient_z"])


# -- heterogeneity
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "fed", "value"),
    [
        (Logistic(), concept_shift_from_laws([[1.0, 0.0], [0.0, 2.0]], [[0.9, 0.2], [0.3, 0.6]]), 0.25),
        (Softmax(3), concept_shift_from_laws([[2.0]], [[[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]]]), 0.9899494937),
        (
            Softmax(4),
            concept_shift_from_laws([[2.0]], [[[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]]]),
            0.9899494937,
        ),  # a class no user has
    ],
)
def test_concept_shift_is_exact(loss, fed, value, rng):
    problem = Problem(loss, fed)
    constants = problem.constants()
    assert (constants["gamma_G"].how, constants["gamma_H"].how, constants["gamma_H"].max()) == ("exact", "exact", 0.0)
    assert constants["gamma_G"].max() == pytest.approx(value, abs=1e-9)
    for w in 5 * rng.normal(size=(4, problem.dim)):
        assert problem.gamma_G(w) == pytest.approx(value, abs=1e-9)
        assert problem.gamma_H(w) < 1e-12


@pytest.mark.parametrize("loss", [Logistic(l2=0.1, nonconvex=0.2), Softmax(2)])
def test_concept_shift_at_every_point(loss, rng):
    fed = concept_shift(n_users=5, dim=3, size=4, shift=0.6)
    problem = Problem(loss, fed)
    constant = problem.constants()["gamma_G"]
    factor = 1 if isinstance(loss, Logistic) else math.sqrt(2)  # two logits move where one does
    assert constant.max() == pytest.approx(factor * concept_shift_gamma_G(fed), rel=1e-10)
    for w in rng.normal(size=(4, problem.dim)):
        assert problem.gamma_G(w) == pytest.approx(constant.max(), rel=1e-10)


def test_users_with_other_features_get_a_bound_only(rng):
    fed = Federation.from_arrays([rng.normal(size=(4, 2)) for _ in range(2)], [[0, 1, 0, 1]] * 2)
    constants = Problem(Logistic(), fed).constants()
    assert constants["gamma_G"].how == constants["gamma_H"].how == "upper"
    assert constants["gamma_G"].max() == pytest.approx(np.sqrt((constants["B"].values ** 2).mean()), rel=1e-12)
    assert Problem(Logistic(l2=1.0), fed).constants()["gamma_G"].how == "none"


def test_feature_lipschitz_is_finite_and_between_its_bounds_for_every_radius():
    for s in np.geomspace(1e-3, 1e8, 400):
        assert s / 4 <= feature_lipschitz(s) <= (1 + s / 4) * (1 + 2e-6)


def test_equal_curvatures_stay_equal():
    """The mean of n equal numbers may be off by a rounding: that is no heterogeneity."""
    for a, n in ((0.1, 3), (0.1, 7), (0.3, 10), (0.7, 3)):
        fed = Federation.from_arrays([[float(i)] for i in range(n)])
        constants = Problem(Quadratic(a), fed).constants()
        assert constants["gamma_G"].how == "exact"
        assert constants["gamma_H"].max() == 0.0


def test_log_cosh_far_from_zero_keeps_its_variance():
    near, far = (
        Problem(LogCosh(), Federation.from_arrays([np.array([0.0, 1.0]) + shift])).constants() for shift in (0.0, 1e8)
    )
    for name in ("sigma_G", "sigma_H", "L", "rho"):
        assert far[name].max() == pytest.approx(near[name].max(), rel=1e-6)


def test_rows_of_zeros_have_constants():
    fed = Federation.from_arrays([np.zeros((80, 80))], [np.zeros(80, dtype=int)])
    assert Problem(Logistic(), fed).constants()["L"].max() == 0.0


def test_largest_eigenvalue_of_a_large_matrix_is_certified_from_above(rng):
    x = rng.normal(size=(120, 90))
    top, _ = largest_eigenvalue(x, np.full(120, 1 / 120))
    exact = np.linalg.eigvalsh(x.T @ x / 120)[-1]
    assert exact <= top <= exact * (1 + 3e-10)
