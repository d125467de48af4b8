"""A report says what claims prove, what a run measured, and what is not known; recommendations are proved by it."""

from __future__ import annotations

import dataclasses
import importlib
import io
import math
import re

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.errors import InputError
from pfl_theory.reports import along, bound, latex, tables
from pfl_theory.reports.text import WIDTH

THEOREM_2 = claims.get("theorem-4.5", version="corrected", form="theorem-2")


def users(n=6, rows=40, *, law="sample", classes=2):
    rng = np.random.default_rng(3)
    x = [rng.normal(size=(rows, 3)) + 0.2 * rng.normal(size=3) for _ in range(n)]
    y = [rng.integers(0, classes, rows) for _ in range(n)]
    return pfl.Federation.from_arrays(x, y, law=law, name="six users")


def logistic(**keywords):
    return pfl.Problem(pfl.losses.Logistic(nonconvex=0.05), users(**keywords))


def algorithm(**changes):
    base = pfl.PerFedAvg(0.2, 0.005, 5, 3, 4, 4, 4)
    return dataclasses.replace(base, **changes)


# --- the bound is that of the claim ---


@pytest.mark.parametrize("variant", ["exact", "first-order", "hessian-free", "fedavg"])
def test_theorem_2_is_the_claims_right_side(variant):
    problem, alg = logistic(), algorithm()
    alg = pfl.FedAvg(0.005, 5, 3, 4) if variant == "fedavg" else dataclasses.replace(alg, variant=variant)
    found = pfl.report(problem, alg, rounds=300, alpha=0.2, distances="all")
    road = found.roads.best.name
    at = claims.Instance(problem, 0.2, None, "claim", alg, rounds=300, runs=2, gamma=road)
    judged = THEOREM_2.judge(at)
    assert found.failure is None
    assert found.bounds[0].value == judged.rhs.upper
    assert found.bounds[0].trivial == pytest.approx(
        ((1 + 0.2 * at.problem.constants()["L"].max()) * at.problem.constants()["B"].max()) ** 2
    )
    for name in found.roads.closed:
        assert THEOREM_2.judge(dataclasses.replace(at, gamma=name)).outcome == "NOT_APPLICABLE"
    others = [THEOREM_2.judge(dataclasses.replace(at, gamma=road.name)).rhs.upper for road in found.roads.open]
    assert found.bounds[0].value == min(others)


def test_six_terms_in_plain_floats_add_up():
    problem, alg = logistic(), algorithm()
    found = pfl.report(problem, alg, rounds=300)
    c = {name: v.max() for name, v in problem.constants().items()}
    x, L_F, gamma = 0.005 * found.steps.smoothness, found.steps.smoothness, found.roads.best.gamma_F
    a, share = 1 + 0.2 * c["L"], 1 / 4
    v2 = a**2 * c["sigma_G"] ** 2 * (share + (0.2 * c["L"]) ** 2 * share)
    v2 += (0.2 * c["sigma_H"]) ** 2 * share * (c["B"] ** 2 + c["sigma_G"] ** 2 * share)
    b = a * 0.2 * c["L"] * c["sigma_G"] / 2
    phi = float(problem.meta_value(np.zeros(3), 0.2).mean()) / (0.005 * 5 * 300)
    p = (6 - 3) / (3 * 5)
    expected = (
        2.46 * phi, 2.34 * x * v2 / 3, 4.20 * x**2 * 4 * v2, 2.03 * x**2 * 20 * gamma**2, 1.94 * 5 * x * p * gamma**2,
        4.87 * b**2,
    )  # fmt: skip
    assert [t.value for t in found.bounds[0].terms] == pytest.approx(expected, rel=1e-12)
    assert pytest.approx(a**2 * c["L"] + 0.2 * c["rho"] * c["B"]) == L_F
    total = sum(t.value for t in found.bounds[0].terms)
    assert total >= found.bounds[0].value * (1 - 1e-12)
    assert total == pytest.approx(found.bounds[0].value, rel=1e-12)
    assert found.bound.dominating.value == max(expected) or found.bound.dominating.value == pytest.approx(max(expected))


def test_proposition_3_at_full_participation():
    found = pfl.report(logistic(), algorithm(participation=1.0), rounds=300)
    names = [b.name for b in found.bounds]
    assert names == ["Theorem 2", "Proposition 3"]
    two, three = found.bounds
    assert three.terms[0].value == pytest.approx(two.terms[0].value * 2 / 2.46)
    assert three.terms[3].value == pytest.approx(two.terms[5].value * 1.961 / 4.87)
    assert three.terms[2].value == pytest.approx(two.terms[3].value / 2.03)
    assert three.terms[1].value == pytest.approx(two.terms[1].value * 6 / 2.34)
    assert found.bound is min(found.bounds, key=lambda b: b.value)
    assert sum(t.value for t in three.terms) == pytest.approx(three.value, rel=1e-12)


def test_rounds_left_open_give_a_function_of_K():
    problem, alg = logistic(), algorithm()
    at_1000, at_5000 = pfl.report(problem, alg), pfl.report(problem, alg, rounds=5000)
    assert not at_1000.rounds_given
    assert at_1000.bound.rounds == 1000
    rest = sum(t.value for t in at_1000.bound.terms[1:])
    assert at_1000.bound.start_times_rounds / 5000 + rest == pytest.approx(at_5000.bound.value, rel=1e-9)
    assert "no K is given; as a function of K" in " ".join(str(at_1000).split())
    assert "as a function" not in str(at_5000)


def test_vacuous_is_said():
    found = pfl.report(logistic(), algorithm(), rounds=1)
    assert found.bound.vacuous
    assert "is vacuous here" in str(found)
    assert not pfl.report(logistic(), algorithm(), rounds=10**5).bound.vacuous


def test_every_road_covers_the_gammas_at_points():
    problem = logistic()
    found = pfl.report(problem, algorithm(), rounds=50, distances="all")
    assert {road.name for road in found.roads.open} == {"known", "tv", "w1", "trivial"}
    for w in np.random.default_rng(0).normal(scale=0.3, size=(20, 3)):
        for road in found.roads.open:
            assert problem.gamma_G(w) <= road.gamma_G
            assert problem.gamma_H(w) <= road.gamma_H
            assert problem.gamma_F(w, 0.2) <= road.gamma_F


# --- steps ---


def test_admissible_steps_and_what_is_too_large():
    problem = logistic()
    L = problem.constants()["L"].max()
    steps = pfl.report(problem, algorithm(), rounds=10).steps
    assert steps.alpha * L <= 1
    assert steps.alpha * L == pytest.approx(1)
    assert 5 * steps.beta * steps.smoothness <= 0.1
    assert 5 * steps.beta * steps.smoothness == pytest.approx(0.1)
    assert pfl.report(problem, algorithm(beta=steps.beta), rounds=10).failure is None
    far = pfl.report(problem, algorithm(beta=steps.beta * 1.01), rounds=10)
    assert far.bounds == ()
    assert "beta tau L_F must be at most 0.1" in far.failure
    assert "too large" in str(far)
    assert "alpha must be at most 1/L" in pfl.report(problem, algorithm(alpha=1.1 / L, beta=1e-4), rounds=10).failure


# --- a run ---


def test_a_run_stands_beside_the_bound():
    problem, alg = logistic(), algorithm()
    run = pfl.run(alg, problem, rounds=40, record=("local_gradient", "meta_gradient", pfl.reports.visited))
    found = pfl.report(problem, alg, run=run)
    assert found.bound.rounds == 40
    looked = found.measured
    assert looked.local == pytest.approx(run.records["local_gradient_norm2"][:-1].mean())
    assert looked.server == pytest.approx(run.records["gradient_norm2"].mean())
    assert looked.local < found.bound.value
    assert [p.where for p in looked.points] == ["the start", "round 10", "round 20", "round 30", "the last model"]
    assert looked.points[-1].gamma_G == pytest.approx(problem.gamma_G(run.w))
    assert looked.points[0].gamma_F == pytest.approx(problem.gamma_F(np.zeros(3), 0.2))
    assert looked.points[0].curvature is None  # constants are known
    assert "One run is no expectation" in str(found)


def other_runs():
    problem, alg = logistic(), algorithm()
    run = pfl.run(alg, problem, rounds=3, record="meta_gradient")
    yield {"run": 3}, "run is int; give what pfl.run returned"
    yield {"run": dataclasses.replace(run, facts=run.facts | {"beta": 0.1})}, "the run has beta = 0.1"
    yield {"run": dataclasses.replace(run, w=np.zeros(2))}, "give a run on this problem"
    yield {"run": run, "w0": np.ones(3)}, "give w0="
    local = pfl.run(alg, problem, rounds=3, record="local_gradient")
    yield {"run": local, "w0": np.ones(3)}, "give w0="
    yield {"run": run, "rounds": 5}, "rounds = 5, but the run has 3"


@pytest.mark.parametrize("case", range(6))
def test_a_run_of_something_else_is_refused(case):
    keywords, says = list(other_runs())[case]
    with pytest.raises(InputError, match=re.escape(says)):
        pfl.report(logistic(), algorithm(), **keywords)


# --- where there are no constants ---


def quadratic(**keywords):
    return pfl.Problem(pfl.losses.Quadratic([[1.0, 0, 0], [0, 0.5, 0], [0, 0, 0.2]]), users(n=3), **keywords)


def test_without_constants_what_a_run_measured_is_told():
    problem, alg = quadratic(), algorithm(participation=2, beta=0.1)
    run = pfl.run(alg, problem, rounds=30, record="local_gradient")
    found = pfl.report(problem, alg, run=run)
    assert found.bounds == ()
    assert "B has no value a bound may use" in found.failure
    last = found.measured.points[-1]
    assert last.curvature == pytest.approx(1.0, rel=1e-6)
    assert last.curvature <= 1.0 + 1e-12
    assert last.gamma_H < 1e-15
    # variance of the direction by its formula: (I - alpha A)(A e' - alpha A^2 e), e and e' batch means of 4 rows
    A, expected = np.diag([1.0, 0.5, 0.2]), []
    for i in range(3):
        rows = problem.federation[i].points
        cov = np.cov(rows.T, bias=True) / 4
        J = np.eye(3) - 0.2 * A
        expected.append(np.trace(J @ A @ cov @ A @ J) + 0.04 * np.trace(J @ A @ A @ cov @ A @ A @ J))
    many = along.variance(problem, alg, run.w, draws=3000)
    assert many == pytest.approx(np.mean(expected), rel=0.1)
    text = str(found)
    assert "Measured, not proved" in text
    assert "No bound:" in text


def test_the_ball_that_is_named_gives_a_bound():
    alg = algorithm(participation=2, beta=0.005)
    radius = float(re.search(r"Give ball=\(([\d.]+), None\)", pfl.report(quadratic(), alg, rounds=30).failure)[1])
    found = pfl.report(quadratic(), alg, rounds=30, ball=(radius, None))
    assert found.failure is None
    at = claims.Instance(quadratic(), 0.2, None, "q", alg, (radius, None), rounds=30, gamma=found.roads.best.name)
    judged = THEOREM_2.judge(at)
    assert judged.outcome == "HOLDS"
    assert judged.rhs.upper == found.bounds[0].value


def nothing_known():
    yield pfl.Problem(pfl.losses.Logistic(), users(), "float32"), "float32"
    value, gradient, hvp = lambda w: np.cos(w[:, 0]), lambda w: -np.sin(w), lambda w, v: -np.cos(w) * v
    yield pfl.Problem.from_functions(value, gradient, hvp, n_users=6, dim=1), "L is not stated"
    yield pfl.Problem(pfl.losses.LeastSquares(), users()), "B has no value"
    yield pfl.Problem(pfl.losses.Logistic(l2=0.1), users()), "B has no value"


@pytest.mark.parametrize("case", range(4))
def test_problems_without_constants(case):
    problem, says = list(nothing_known())[case]
    alg = algorithm() if case != 1 else algorithm(batch_inner=None, batch_outer=None, batch_hessian=None)
    found = pfl.report(problem, alg)
    assert says in found.failure
    assert found.bounds == ()
    assert found.measured.points[0].curvature > 0
    assert np.isfinite(found.measured.points[0].gamma_G)
    assert len(found.frame()) > 4
    with pytest.raises(InputError, match="there is no bound to draw"):
        found.figure()


def test_other_algorithms_have_no_bound():
    found = pfl.report(logistic(), pfl.Centralized(0.1), rounds=3)
    assert "Per-FedAvg or FedAvg" in found.failure
    assert str(found)


def test_power_iteration_against_the_hessian():
    problem, w = logistic(), np.array([0.5, -1.0, 0.3])
    largest = np.abs(np.linalg.eigvalsh(problem.hessian(w))).max()
    assert along.curvature(problem, w, steps=200) == pytest.approx(largest, rel=1e-4)
    assert along.curvature(problem, w) <= largest * (1 + 1e-12)


# --- distances ---


def test_distances_and_what_is_left_out():
    problem = logistic()
    found = pfl.report(problem, algorithm(), rounds=10).users
    average, pairs = (make(problem.federation) for make in (pfl.distances.to_average, pfl.distances.all_pairs))
    assert found.w1 == pytest.approx(average.average_upper)
    assert average.M[1] == found.M
    assert pairs.P[1] == found.P
    assert found.tv == pytest.approx(pfl.distances.to_average(problem.federation, tv=True).average_upper)
    assert found.floor.p_value <= 1
    none = pfl.report(problem, algorithm(), rounds=10, distances="none")
    assert none.users.w1 is None
    assert "W1 left out" in str(none)
    assert "w1" in none.roads.closed
    large = pfl.Problem(pfl.losses.Logistic(), users(n=40, rows=150))
    dear = pfl.report(large, algorithm(participation=4), rounds=10)
    assert dear.users.w1 is None
    assert "distances='all' measures it" in " ".join(str(dear).split())


def test_one_user_and_users_of_one_row():
    fed = pfl.Federation.from_arrays([np.ones((1, 2)), np.zeros((1, 2))], [[0], [1]], law="sample")
    for users in (fed, fed.select([1])):
        found = pfl.report(pfl.Problem(pfl.losses.Logistic(), users), pfl.PerFedAvg(0.1, 0.01, 2), rounds=50)
        assert found.failure is None
        assert found.users.floor is None
        assert "Noise floor: it needs two users" in str(found)


def test_functions_with_constants():
    z, C = np.array([[0.0], [1.0]]), pfl.Constant.exact
    constants = {name: C([1.0, 1.0], "cosine") for name in ("L", "B", "rho")}
    constants |= {name: C([0.0, 0.0], "no noise") for name in ("sigma_G", "sigma_H")}
    constants |= {name: C(math.sin(0.5), "half the chord") for name in ("gamma_G", "gamma_H")}
    problem = pfl.Problem.from_functions(
        lambda w: 1 - np.cos(w - z)[:, 0],
        lambda w: np.sin(w - z),
        lambda w, v: np.cos(w - z) * v,
        n_users=2,
        dim=1,
        constants=constants,
        lowest=0.0,
    )
    found = pfl.report(problem, pfl.PerFedAvg(0.2, 0.02, 2, 1), rounds=60, w0=[1.5], epsilon=0.1)
    rows = pfl.Problem(pfl.losses.Cosine(), pfl.Federation.from_arrays(z[:, None]))
    same = pfl.report(rows, pfl.PerFedAvg(0.2, 0.02, 2, 1), rounds=60, w0=[1.5])
    assert found.users is None
    assert found.bounds[0].terms[0].value == pytest.approx(same.bounds[0].terms[0].value)
    assert found.bounds[0].value <= same.bounds[0].value  # rows tell an upper bound of gamma only
    assert found.advice.bound.value <= 0.1
    infinite = {**constants, "B": C([1.0, math.inf], "no bound")}
    problem = pfl.Problem.from_functions(
        lambda w: w[:, 0], lambda w: np.ones_like(w), n_users=2, dim=1, constants=infinite, lowest=0.0
    )
    assert "B has no value a bound may use" in pfl.report(problem, pfl.FedAvg(0.02), rounds=5).failure


def test_users_whose_laws_are_known_have_no_floor():
    assert pfl.report(logistic(law="exact"), algorithm(), rounds=10).users.floor is None


# --- recommendations ---


@pytest.mark.parametrize("participation", [1.0, 2])
@pytest.mark.parametrize("variant", ["exact", "hessian-free"])
def test_what_is_recommended_is_proved_by_the_report(variant, participation):
    problem = logistic()
    for epsilon in (0.5, 0.02):
        found = pfl.recommend(problem, epsilon, participation=participation, variant=variant)
        assert found.reached
        again = pfl.report(problem, found.algorithm, rounds=found.rounds, distances="none")
        assert again.failure is None
        assert again.bounds[0].value == found.bound.value
        assert epsilon / 2 < found.bound.value <= epsilon or found.rounds == 1
        best = found.choices[0]
        assert best.gradients == min(c.gradients for c in found.choices)
        rows, m = 40, 6 if participation == 1.0 else 2
        sizes = [rows if s is None else s for s in best[:3]]
        a_step = sizes[0] + sizes[1] + sizes[2] * (2 if variant == "hessian-free" else 1)
        assert best.gradients == best.rounds * best.tau * m * a_step
        assert best.bytes_a_user == pytest.approx(2 * 8 * 3 * best.rounds * m / 6)
        assert len(found.frame()) == len(found.choices)


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_what_is_not_proved_is_not_recommended(monkeypatch, share):
    """Floats choose; where they are too sanguine the report's own bound asks for more rounds, or refuses."""
    module = importlib.import_module("pfl_theory.reports.recommend")
    true = module._linear
    monkeypatch.setattr(module, "_linear", lambda *numbers: share * true(*numbers))
    for epsilon in (0.5, 0.1, 0.02):
        for participation in (1.0, 2):
            found = pfl.recommend(logistic(), epsilon, participation=participation)
            assert found.bound.value <= epsilon if found.reached else "no choice is proved" in found.reason


def test_no_smaller_number_of_rounds_would_do():
    """By the same inequality, for the recommended steps: half as many rounds are not proved."""
    problem = logistic()
    found = pfl.recommend(problem, 0.02)
    half = pfl.report(problem, found.algorithm, rounds=found.rounds // 2, distances="none")
    assert half.bounds[0].value > 0.02


@pytest.mark.parametrize(("variant", "times"), [("first-order", 1.0), ("FedAvg", 2.0)])
def test_below_the_floor_it_says_why(variant, times):
    problem = logistic()
    c = problem.constants()
    b = times * 0.2 * c["L"].max() * c["B"].max()
    floor = 4.87 * b**2
    found = pfl.recommend(problem, floor * 0.9, alpha=0.2, variant=variant)
    assert not found.reached
    assert f"4.87 b^2 = {floor:.4g}" in found.reason
    assert "\n" not in found.reason
    largest = float(re.search(r"take alpha below ([\d.e-]+),", found.reason)[1])
    enough = pfl.recommend(problem, floor * 1.5, alpha=0.2, variant=variant)
    assert enough.reached
    assert enough.bound.value <= floor * 1.5
    assert pfl.recommend(problem, floor * 0.9, alpha=largest * 0.9, variant=variant).reached


def test_epsilon_in_a_report():
    found = pfl.report(logistic(), algorithm(), epsilon=0.1)
    assert found.advice.bound.value <= 0.1
    assert found.advice.alpha == 0.2
    assert "chosen" in str(found)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, "small", True])
def test_bad_epsilon(epsilon):
    with pytest.raises(InputError, match=r"must be a finite number > 0"):
        pfl.recommend(logistic(), epsilon)
    if epsilon is not True:
        with pytest.raises(InputError, match=r"must be a finite number > 0"):
            pfl.report(logistic(), algorithm(), epsilon=epsilon)


def test_recommend_where_nothing_is_known():
    assert "no bound applies: B has no value" in pfl.recommend(quadratic(), 0.1).reason
    plain = pfl.Problem.from_functions(lambda w: w[:, 0] ** 2, lambda w: 2 * w, n_users=1, dim=1)
    with pytest.raises(InputError, match="give alpha="):
        pfl.recommend(plain, 0.1)
    with pytest.raises(InputError, match="must be an integer"):
        pfl.recommend(logistic(), 0.1, participation=0.3)
    with pytest.raises(InputError, match="choose one of"):
        pfl.recommend(logistic(), 0.1, variant="second-order")


# --- how it looks ---


def test_text_fits_a_terminal_and_html_latex_frame_hold_the_same():
    problem, alg = logistic(), algorithm(participation=1.0)
    run = pfl.run(alg, problem, rounds=10, record="local_gradient")
    found = pfl.report(problem, alg, run=run, epsilon=0.3)
    text = str(found)
    assert max(map(len, text.splitlines())) <= WIDTH == 100
    frame, html, tex = found.frame(), found._repr_html_(), found.to_latex()
    assert list(frame.columns) == list(tables.COLUMNS)
    for section in tables.sections(found):
        assert section.title in text
        for row in section.rows:
            shown = tables.number(row.value, row.known)
            assert shown in text
            assert f"<td>{shown}</td>" in html
            assert shown in tex
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") > 4
    assert "<script" not in html
    for symbol in ("x = beta L_F", "Phi =", "p = (n - m)", "v^2 and b^2"):
        assert symbol in " ".join(text.split())


def test_hostile_names_are_escaped():
    fed = dataclasses.replace(users(), name="<b>50 % & more_</b>")
    found = pfl.report(pfl.Problem(pfl.losses.Logistic(), fed), algorithm(), rounds=3, distances="none")
    assert "&lt;b&gt;50 % &amp; more_" in found._repr_html_()
    assert latex.escaped("50 % & more_") == r"50 \% \& more\_"


def test_numbers_are_rounded_to_the_safe_side():
    rng = np.random.default_rng(1)
    for value in np.exp(rng.uniform(-30, 30, 300)):
        assert float(tables.number(value, "upper")) >= value * (1 - 2e-9)
        assert float(tables.number(value, "at most")) <= value * (1 + 2e-9)
        assert float(tables.number(value, "upper")) == pytest.approx(value, rel=2e-3)


def test_the_figure_shows_terms_trivial_bound_and_measured():
    problem, alg = logistic(), algorithm()
    run = pfl.run(alg, problem, rounds=10, record="local_gradient")
    found = pfl.report(problem, alg, run=run)
    figure = found.figure()
    axes = figure.axes[0]
    lines = sorted(float(line.get_xdata()[0]) for line in axes.lines)
    assert lines == pytest.approx(sorted([found.bound.trivial, found.measured.local]))
    ends = sorted(bar.get_x() + bar.get_width() for bar in axes.patches)
    assert ends == pytest.approx(sorted([found.bound.value, *(t.value for t in found.bound.terms)]))
    figure.savefig(io.BytesIO())


def test_what_is_computed_next_is_told():
    told = []
    pfl.report(logistic(), algorithm(), rounds=3, tell=told.append)
    assert "constants of the assumptions" in told
    assert any("W1" in stage for stage in told)


def test_bounds_of_curves():
    """A witness of the theorem: the report's bound is the claim's right side there too."""
    at = THEOREM_2.witness()
    found = pfl.report(at.problem, at.algorithm, rounds=at.rounds, alpha=at.alpha, w0=at.w0, ball=at.ball)
    assert found.failure is None, found.failure
    assert found.bounds[0].value == THEOREM_2.judge(at).rhs.upper
    assert bound.USUAL_ROUNDS == 1000
