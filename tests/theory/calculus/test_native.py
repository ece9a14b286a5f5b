"""Machine code: functions of one number against SciPy's, the cache of what was compiled, and its absence."""

import subprocess

import numpy as np
import pytest
import sympy as sp
from scipy import special

from polyseme.theory.calculus import native, staged_function
from polyseme.theory.calculus.functions import ACTIVATIONS, LOSSES, Gate, Sigmoid, SmoothReLU
from polyseme.theory.calculus.staged_function import StagedFunction

q, i = sp.symbols("q i", integer=True, positive=True)
N, m = sp.symbols("N m", integer=True, positive=True)
x, y = sp.IndexedBase("x"), sp.IndexedBase("y")
EPS = np.finfo(float).eps


def of_each(body: sp.Expr, **arrays: np.ndarray) -> np.ndarray:
    """An expression in x[q] and y[q], evaluated at each place of arrays."""
    function = StagedFunction(stages=[], outputs={"z": ((q,), body)}, order=(q, i), own=frozenset())
    values = {name: array[None] for name, array in arrays.items()}
    return function(values, {q: len(arrays["x"]), i: 1}, {})["z"][0]


def test_functions_are_scipys_to_a_few_units_in_the_last_place():
    at = np.concatenate([np.linspace(-40, 40, 4001), np.linspace(-1e-3, 1e-3, 101), [0.0, -0.0]])
    for body, expected in (
        (sp.exp(x[q]), np.exp(at)),
        (sp.tanh(x[q]), np.tanh(at)),
        (Sigmoid(x[q]), special.expit(at)),
        (LOSSES["logistic"](x[q]), np.logaddexp(0, -at)),
        (ACTIVATIONS["relu"](x[q]), np.maximum(at, 0)),
        (Gate(x[q]), (at > 0).astype(float)),
        (SmoothReLU(1, x[q] / 2, 2), special.ndtr(at / np.sqrt(8))),
    ):
        size = np.abs(expected)
        if body.func is sp.tanh:
            size = 1.0  # to a unit of 1, not of itself
        if body.func is SmoothReLU:
            size = size * (
                1 + at**2 / 4
            )  # a unit of the argument, which is at / sqrt(8) once scaled, is so many of the tail
        assert (np.abs(of_each(body, x=at) - expected) <= 8 * EPS * size).all(), body


def test_the_smooth_activation_has_its_limits():
    at, variance = np.array([-2.0, 0.0, 3.0, 1e3, -1e3]), np.array([0.0, 0.0, 0.0, 1e-4, 1e-4])
    slope = of_each(SmoothReLU(1, x[q], y[q]), x=at, y=variance)
    assert slope[[0, 1, 2, 3]].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert 0 <= slope[4] < 1e-290


def test_what_is_not_a_number_stays_so():
    at = np.array([np.nan])
    for body in (sp.exp(x[q]), SmoothReLU(0, x[q], 1), ACTIVATIONS["relu"](x[q]), sp.tanh(x[q])):
        assert np.isnan(of_each(body, x=at)).all(), body


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("size", [1, 7, 8, 21])
def test_sums_over_any_range_are_the_reference_implementations(members, size):
    rng = np.random.default_rng(size)
    w, own = sp.IndexedBase("w"), sp.Symbol("c")
    stages = [
        (sp.IndexedBase("h")[q, i], x[q] * w[i] + own),
        (sp.IndexedBase("f")[q], sp.Sum(ACTIVATIONS["relu"](sp.IndexedBase("h")[q, i]) * w[i], (i, 1, m))),
    ]
    f, h = sp.IndexedBase("f"), sp.IndexedBase("h")
    outputs = {
        "risk": ((), sp.Sum(sp.exp(-(f[q] ** 2)) * y[q], (q, 1, N))),
        "slope": ((i,), sp.Sum(Gate(h[q, i]) * f[q] * y[q], (q, 1, N))),
        "all": ((q, i), h[q, i] / (1 + f[q] ** 2)),
    }
    function = StagedFunction(stages=stages, outputs=outputs, order=(q, i), own=frozenset({"w", "c"}))
    arrays = {"x": rng.normal(size=(1, 5)), "y": rng.uniform(size=(1, 5)), "w": rng.normal(size=(members, size))}
    arrays["c"] = rng.normal(size=members)
    sizes = {q: 5, i: size}
    found, expected = function(arrays, sizes, {}), function.by_name(arrays, sizes, {})
    for name in outputs:
        assert found[name].shape == expected[name].shape
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-13 * np.abs(expected[name]).max())
    # A member's numbers do not depend on the others.
    alone = function({**arrays, "w": arrays["w"][-1:], "c": arrays["c"][-1:]}, sizes, {})
    for name in outputs:
        np.testing.assert_array_equal(alone[name][0], found[name][-1])


def test_a_source_is_compiled_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = "void kernel(double *x) { x[0] = 3.0; }"
    native.build(source)
    (kept,) = (tmp_path / "polyseme").iterdir()
    monkeypatch.setattr(subprocess, "run", None)  # whatever compiles, fails
    native.build(source)
    assert list((tmp_path / "polyseme").iterdir()) == [kept]


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert native.build("void kernel(double *x) { x[0] = 4.0; }") is not None
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_without_a_compiler_numpy_does_the_same(monkeypatch):
    at = np.linspace(-2, 2, 9)
    compiled = of_each(sp.exp(x[q]) * x[q], x=at)
    monkeypatch.setattr(staged_function, "compiler", lambda: None)
    np.testing.assert_allclose(of_each(sp.exp(x[q]) * x[q], x=at), compiled, rtol=8 * EPS)
