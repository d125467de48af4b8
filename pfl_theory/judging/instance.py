"""What a claim is judged on: a problem, a step, the points; kept in a file that anyone can rejudge."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algorithms.algorithm import Algorithm, as_dict
from ..constants import Constant
from ..discovery import class_named, load, name_of, names_below
from ..errors import InputError, one_of, require
from ..federations.federation import Federation, known_fields
from ..federations.measure import given_array
from ..losses.loss import Loss
from ..losses.noise import FiniteNoise
from ..losses.piecewise import Curve, Piecewise
from ..problems.problem import Problem
from ..sweeps.files import canonical_json, write_text

FORMAT = 3  # of files; 2 knew no gamma
FIELDS = {"name", "alpha", "points", "ball", "problem", "algorithm", "rounds", "w0", "runs", "epsilon", "gamma"}
GAMMAS = ("known", "tv", "w1", "trivial")  # ways to know heterogeneity for every w
INLINE_NUMBERS = 20_000  # a federation larger than this goes to an npz beside the instance


@dataclass(frozen=True, eq=False)
class Instance:
    """A problem, an inner step and, where a statement is judged at points, the points.

    Attributes
    ----------
    problem : Problem
    alpha : float
        Inner step.
    points : ndarray, shape (k, d), or None
        Points w; pairs of consecutive points are used for smoothness.
    name : str
        Short name in tables.
    algorithm : Algorithm, optional
        Where the statement is about a run.
    ball : tuple (radius, center or None), optional
        Read the assumptions on this ball; the points must lie in it.
    rounds : int, optional
        K, where the statement is about a run.
    w0 : ndarray, shape (d,), optional
        First model of a run; 0 when absent.
    runs : int, optional
        Judge a run by this many runs of the algorithm itself instead of exact expectations.
    epsilon : float, optional
        Accuracy asked for, where the statement is about rates.
    gamma : {"known", "tv", "w1", "trivial"}
        How a statement about a run knows the users' heterogeneity for every w: exactly where the functions tell it
        (else by the trivial bound), from total variation, from W1, or from B and L alone.
    """

    problem: Problem
    alpha: float
    points: NDArray | None = None
    name: str = "given"
    algorithm: Algorithm | None = None
    ball: tuple[float, NDArray | None] | None = None
    rounds: int | None = None
    w0: NDArray | None = None
    runs: int | None = None
    epsilon: float | None = None
    gamma: str = "known"

    def __post_init__(self) -> None:
        require(
            bool(np.isfinite(self.alpha) and self.alpha >= 0),
            f"instance {self.name!r}: alpha = {self.alpha}; must be a finite number >= 0",
        )
        if self.points is not None:
            p = np.atleast_2d(np.asarray(self.points, dtype=np.float64))
            require(
                p.ndim == 2 and p.shape[1] == self.problem.dim,
                f"instance {self.name!r}: points have shape {p.shape}; must be (k, {self.problem.dim})",
            )
            require(len(p) > 0, f"instance {self.name!r}: no points; an empty instance cannot be judged")
            require(bool(np.isfinite(p).all()), f"instance {self.name!r}: points contain NaN or infinity")
            object.__setattr__(self, "points", p)
        for name in ("rounds", "runs"):
            count = getattr(self, name)
            whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
            require(
                count is None or bool(whole and count >= 1),
                f"instance {self.name!r}: {name} = {count!r}; must be an integer >= 1",
            )
        one_of("gamma", self.gamma, GAMMAS)
        good = self.epsilon is None or bool(np.isfinite(self.epsilon) and self.epsilon > 0)
        require(good, f"instance {self.name!r}: epsilon = {self.epsilon!r}; must be a finite number > 0")
        if self.w0 is not None:
            start = np.atleast_1d(np.asarray(self.w0, dtype=np.float64))
            require(
                start.shape == (self.problem.dim,),
                f"instance {self.name!r}: w0 has shape {start.shape}; must be ({self.problem.dim},)",
            )
            require(bool(np.isfinite(start).all()), f"instance {self.name!r}: w0 contains NaN or infinity")
            object.__setattr__(self, "w0", start)

    @property
    def judged_at(self) -> NDArray:
        """The points w, shape (k, d), or an error where there are none."""
        if self.points is None:
            raise InputError(f"instance {self.name!r}: no points; give one or more w")
        return self.points

    @functools.cached_property
    def constants(self) -> Mapping[str, Constant]:
        """The problem's constants (on the ball, where one is given)."""
        if self.ball is None:
            return self.problem.constants()
        radius, center = self.ball
        return self.problem.constants(radius=radius, center=center)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write as JSON (a large federation as npz beside it, in place of the one that an instance saved here before
        had). Problems from arbitrary Python functions cannot be written.
        """
        target = Path(path)
        before = _sidecar(target)
        if self.problem.kind == "curves":
            family = self.problem.family
            curves = [{"x": c.x, "h": c.h, "anchor": c.anchor, "slope": c.slope} for c in family.curves]
            problem: dict[str, Any] = {
                "piecewise": curves,
                "noise": None if family.noise is None else family.noise.as_data(),
            }
        elif self.problem.kind == "rows":
            loss, fed = self.problem.loss, self.problem.federation
            given = {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}  # type: ignore[arg-type]
            problem = {"loss": {"name": name_of(type(loss)), **given}}
            if fed.x.size <= INLINE_NUMBERS:
                problem["federation"] = {
                    "x": fed.x * fed.scale,
                    "y": fed.y,
                    "weights": fed.weights,
                    "offsets": fed.offsets,
                    "law": fed.law,
                    "name": fed.name,
                    "info": fed.info,
                }
            else:  # named by what it holds: never a file that stood there before
                problem["federation"] = fed.save(target.with_name(f"{target.stem}.{_digest(fed)}.npz")).name
        else:
            raise InputError(
                f"instance {self.name!r}: its problem comes from Python functions, which a file cannot hold"
            )
        ball = None if self.ball is None else {"radius": self.ball[0], "center": self.ball[1]}
        algorithm = None if self.algorithm is None else as_dict(self.algorithm)
        whole = {
            "format": FORMAT,
            "name": self.name,
            "alpha": self.alpha,
            "points": self.points,
            "ball": ball,
            "problem": problem,
            "algorithm": algorithm,
        }
        run = {name: getattr(self, name) for name in ("rounds", "w0", "runs", "epsilon", "gamma")}
        write_text(target, canonical_json({**whole, **run}) + "\n")
        _remove(before, target)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Instance:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            The file is absent, no instance, or names an unknown loss.
        """
        target = Path(path)
        require(target.is_file(), f"{target}: no such instance file; write one with Instance.save")
        try:
            data = json.loads(target.read_text(encoding="utf-8"))
            known_fields(data, FIELDS, FORMAT, str(target))
            given = data["problem"]
            known_fields(given, {"piecewise", "noise", "loss", "federation"}, FORMAT, f"{target}, problem")
            if data.get("ball") is not None:
                known_fields(data["ball"], {"radius", "center"}, FORMAT, f"{target}, ball")
            if "piecewise" in given:
                if given.get("noise"):
                    known_fields(given["noise"], {"shapes", "coefficients", "weights"}, FORMAT, f"{target}, noise")
                noise = FiniteNoise.from_data(given["noise"]) if given.get("noise") else None
                for curve in given["piecewise"]:
                    known_fields(curve, {"x", "h", "anchor", "slope"}, FORMAT, f"{target}, piecewise")
                family = Piecewise([Curve(c["x"], c["h"], c["anchor"], c["slope"]) for c in given["piecewise"]], noise)
                problem = Problem.from_curves(family)
            else:
                keywords = dict(given["loss"])
                name = keywords.pop("name")
                loss = _known(name, Loss, "loss", target)
                problem = Problem(loss(**keywords), _federation(given["federation"], target.parent))
            ball = None if data.get("ball") is None else (data["ball"]["radius"], data["ball"]["center"])
            points, w0 = (None if data.get(name) is None else np.array(data[name]) for name in ("points", "w0"))
            run = {
                "algorithm": _algorithm(data.get("algorithm"), target),
                "rounds": data.get("rounds"),
                "w0": w0,
                "runs": data.get("runs"),
                "epsilon": data.get("epsilon"),
                "gamma": data.get("gamma", "known"),
            }
            return cls(problem, data["alpha"], points, data.get("name", target.stem), ball=ball, **run)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise InputError(
                f"{target}: not an instance ({type(error).__name__}: {error}); expected JSON written by Instance.save"
            ) from error


def _algorithm(given: Any, path: Path) -> Algorithm | None:
    if given is None:
        return None
    keywords = dict(given)
    name = keywords.pop("algorithm")
    return _known(name, Algorithm, "algorithm", path)(**keywords)  # type: ignore[no-any-return]


def _known(name: Any, base: type, what: str, path: Path) -> Any:
    """The class of this name, from this package or defined elsewhere in this process."""
    load(base.__module__.rpartition(".")[0])  # by name: only who reads files depends on all there is
    found: type | None = class_named(str(name), base)
    if found is None:
        known = ", ".join(names_below(base))
        raise InputError(f"{path}: {what} {name!r} is unknown; choose one of {known}, or import its module first")
    return found


def _digest(fed: Federation) -> str:
    """A short name for the content of a federation."""
    found = hashlib.sha256(canonical_json([fed.scale, fed.law, fed.name, fed.info]).encode())
    for values in (fed.x, fed.y, fed.weights, fed.offsets):
        if values is not None:
            found.update(f"{values.dtype.str}{values.shape}".encode())
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()[:12]


def _sidecar(target: Path) -> Path | None:
    """The npz file that :meth:`Instance.save` wrote for the instance that stands at `target`, where it has one."""
    try:
        name = json.loads(target.read_text(encoding="utf-8"))["problem"]["federation"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    ours = isinstance(name, str) and re.fullmatch(rf"{re.escape(target.stem)}\.[0-9a-f]{{12}}\.npz", name)
    return target.with_name(name) if ours else None


def _remove(sidecar: Path | None, target: Path) -> None:
    """Remove the npz file of an instance that is no more, unless an instance in its folder still names it (the new one,
    or a copy of the old one).
    """
    if sidecar is None:
        return
    with contextlib.suppress(OSError):  # left behind it is in nobody's way
        named = sidecar.name.encode()
        if not any(named in path.read_bytes() for path in target.parent.iterdir() if path.suffix == target.suffix):
            sidecar.unlink(missing_ok=True)


def _federation(given: Any, folder: Path) -> Federation:
    if isinstance(given, str):
        return Federation.load(folder / given)
    known_fields(given, {"x", "y", "weights", "offsets", "law", "name", "info"}, FORMAT, "federation of an instance")
    y = None if given["y"] is None else given_array(given["y"], "labels")
    return Federation(
        given_array(given["x"], "points"),
        y,
        np.array(given["weights"]),
        np.array(given["offsets"]),
        1.0,
        given.get("law", "exact"),
        given.get("name", "file"),
        given.get("info") or {},
    )
