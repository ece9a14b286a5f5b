"""Level Z: any noise-free prompts, against the full model, level B and brute force (sections 1, 3 and 4)."""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest

from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.measurements.probe import sequence_of_prompts
from polyseme.sim.multi_concept.training.initial import draw_initial, mirrored
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.calculus import staged_function
from polyseme.theory.multi_concept.coefficients import concept_vectors
from polyseme.theory.multi_concept.derivation.derive import derive
from polyseme.theory.multi_concept.dynamics.integrate import integrate_b
from polyseme.theory.multi_concept.dynamics.span_run import (
    SpanRun,
    integrate_span,
    project_span,
    truncation_residual,
    word_frame,
)
from polyseme.theory.multi_concept.prompts.enumeration import MOST_PROMPTS, PromptTable, enumerate_prompts
from polyseme.theory.multi_concept.reference.prompt_gradients import prompt_gradients
from polyseme.theory.multi_concept.regime import Regime

pytestmark = pytest.mark.usefixtures("unchecked_types")
ARRAYS = ("W_Q_blocks", "W_K_blocks", "alpha", "beta", "loss", "error", "attention")


def regime_of(number, **changes):
    sections = {
        "concepts": {"K1": 2, "K2": (1, 0, 2, 1)[number], "d_x": 8, "d_y": 5, "kappa_x": 0.3, "weights": [0.4, 0.6]},
        "prompt": {
            "L": (3, 3, 2, 2)[number],
            "law": ("match", "iid")[number % 2],
            "p_extra": (0.2, 0.5, 0.3, 1.0)[number],
            "p_plus": (0.5, 0.3)[number % 2],
        },
        "model": {"m": (6, 5, 8, 7)[number], "activation": ("relu", "leaky_relu", "identity", "relu")[number]},
        "training": {
            "batch": "population",
            "steps": 80,
            "record_every": 20,
            "schedule": "constant",
            "eta": (4.0, 2.0, 1.0, 1.0)[number],
            "lam": 1e-3,
            "loss": ("logistic", "squared", "squared", "exponential")[number],
        },
        "ensemble": {"seed": number},
    }
    sections["model"] |= {"sigma_0": 0.3, "sigma_1": 0.3}
    for name, section in changes.items():
        sections[name] |= section
    return Regime().replace(**sections)


@pytest.mark.parametrize("number", range(4))
def test_population_descent_of_the_full_model_is_level_z(number):
    regime = regime_of(number)
    initial = draw_initial(regime)
    reduced, full = integrate_span(regime, initial), simulate(regime, initial, keep_final=True)
    frame = word_frame(initial["M"], 2)
    pairs = {name: (reduced[name], full[name]) for name in ARRAYS}
    pairs |= {name: (reduced[f"{name}_span"][-1], frame @ full[f"final_{name}"] @ frame.T) for name in ("W_Q", "W_K")}
    for name, (one, other) in pairs.items():
        # 80 steps, each rounding once, of sums of thousands of terms in another order.
        assert np.abs(one - other).max() <= 1e-11 * max(np.abs(other).max(), 1e-3), name
    moved = np.abs(reduced["W_Q_span"][-1] - reduced["W_Q_span"][0])
    assert moved[0, 2] > 1e-6 and (regime.concepts.K2 == 0 or moved[1, 4] > 1e-6)  # across concepts, and to nu


@pytest.mark.parametrize("number", [0, 1])
def test_on_pure_prompts_it_is_level_b(number):
    regime = regime_of(number, prompt={"p_extra": 0.0})
    initial = draw_initial(regime)
    one, other = integrate_span(regime, initial), integrate_b(regime, initial)
    for name in ARRAYS:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-12, err_msg=name)


def test_fed_the_prompts_of_minibatches_it_is_sgd_of_the_full_model():
    regime = regime_of(0, training={"batch": 4, "steps": 60, "record_every": 20})
    initial = draw_initial(regime)
    fed, full = sequence_of_prompts(regime, initial, steps=60), simulate(regime, initial)
    frame, labels = word_frame(initial["M"], 2), concept_vectors(initial["Q"], 2).reshape(4, -1)
    batches = (
        PromptTable(
            x=fed["x"][t] @ frame.T,
            x_query=fed["x_query"][t] @ frame.T,
            y=fed["y"][t] @ labels.T,
            e=np.asarray(fed["e"][t], dtype=float),
            match=np.zeros(fed["x"].shape[1:3]),
            p=np.full(4, 0.25),
        )
        for t in range(60)
    )
    reduced = integrate_span(regime, initial, batches=batches)
    for name in ("W_Q_blocks", "W_K_blocks", "alpha", "beta"):
        np.testing.assert_allclose(reduced[name], full[name], rtol=0, atol=1e-12, err_msg=name)


def test_members_of_an_ensemble_equal_their_solo_runs():
    regime = regime_of(0, training={"steps": 20, "record_every": 10}, ensemble={"seeds": 2})
    initial = draw_initial(regime)
    together = integrate_span(regime, initial)
    for member in range(2):
        alone = integrate_span(regime, initial | {name: initial[name][member] for name in ("W_Q", "W_K", "W_O")})
        for name in ARRAYS:
            np.testing.assert_allclose(together[name][member], alone[name], rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("truncated", [False, True])
def test_machine_code_is_the_evaluation_by_name(truncated, monkeypatch):
    regime = regime_of(0, ensemble={"seeds": 2})
    initial, rng = draw_initial(regime), np.random.default_rng(3)
    run = SpanRun(derive("Z", truncated=truncated), regime, initial["r"])
    state = run.kept(project_span(initial, 2))
    state = {name: array + 0.3 * rng.normal(size=array.shape) for name, array in state.items()}
    law = enumerate_prompts(regime).arrays()
    compiled = [run.gradient(state, law), run.step(state, law, 0.1), run.observe(state, law)]
    monkeypatch.setattr(staged_function, "compiler", lambda: None)
    by_name = [run.gradient(state, law), run.step(state, law, 0.1), run.observe(state, law)]
    for one, other in zip(compiled, by_name, strict=True):
        assert one.keys() == other.keys()
        for name, array in other.items():
            # Sums over some thousand prompts, in another order.
            np.testing.assert_allclose(one[name], array, rtol=0, atol=1e-12 * np.abs(array).max(), err_msg=name)


def test_the_gradient_is_section_3_for_any_prompt():
    regime = regime_of(0)
    initial = draw_initial(regime)
    rng, D = np.random.default_rng(1), 5
    state = {"W_Q": rng.normal(size=(1, D, D)), "W_K": rng.normal(size=(1, D, D)), "W_O": rng.normal(size=(1, 6, 4))}
    table = enumerate_prompts(regime)
    gradient = SpanRun(derive("Z"), regime, initial["r"]).gradient(state, table.arrays())
    total = {name: np.zeros_like(array[0]) for name, array in state.items()}
    weights = {name: array[0] for name, array in state.items()} | {"r": initial["r"]}
    for q in range(len(table.p)):
        if q % 40:  # every fortieth prompt, one at a time
            continue
        prompt = {
            "x": table.x[q : q + 1],
            "y": table.y[q : q + 1],
            "x_query": table.x_query[q : q + 1],
            "e": table.e[q : q + 1],
        }
        for name, part in prompt_gradients(weights, prompt).items():
            total[name] += table.p[q] * part
    chosen = PromptTable(**{name: array[::40] for name, array in vars(table).items()})
    some = SpanRun(derive("Z"), regime, initial["r"]).gradient(state, chosen.arrays())
    for name in total:
        np.testing.assert_allclose(some[name][0], total[name], rtol=0, atol=1e-13, err_msg=name)
        assert np.abs(gradient[name]).max() > 1e-3


@pytest.mark.parametrize("law", ["match", "iid"])
def test_the_table_is_the_law_of_ordered_prompts(law):
    regime = regime_of(0, prompt={"L": 2, "law": law, "p_extra": 0.25, "p_plus": 0.375})
    table = enumerate_prompts(regime)
    plus, extra = Fraction(3, 8), Fraction(1, 4)
    of_sign = {1: plus, -1: 1 - plus}
    other = {0: 1 - extra, 1: extra * plus, -1: extra * (1 - plus)}
    words = list(product((1, -1), (0, 1, -1), (0, 1)))  # own sign, the other concept, nu
    brute: dict = {}
    for e, demonstrations, query in product((1, -1), product(words, repeat=2), product((0, 1, -1), (0, 1))):
        if law == "match" and e not in (word[0] for word in demonstrations):
            continue
        none = (1 - of_sign[e]) ** 2 if law == "match" else 0
        chance = prod(
            (of_sign[s] * other[o] * (extra if n else 1 - extra) for s, o, n in demonstrations), start=Fraction(1)
        )
        chance *= of_sign[e] * other[query[0]] * (extra if query[1] else 1 - extra) / (1 - none)
        key = (e, query, tuple(sorted(demonstrations)))
        brute[key] = brute.get(key, 0) + chance
    assert sum(brute.values()) == 1
    for concept, share in enumerate((0.4, 0.6)):
        rows = np.flatnonzero(np.abs(table.x_query[:, 2 * concept]) > 0)
        own = table.p.sum()
        assert own == pytest.approx(1, abs=1e-13)
        assert len(rows) > 0 and share > 0
    # The same multiset of probabilities, concept by concept.
    expected = np.sort([float(chance) * share for chance in brute.values() for share in (0.4, 0.6)])
    np.testing.assert_allclose(np.sort(table.p), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"prompt": {"sigma_y": 0.1}}, "level Z is the theory of noise-free prompts"),
        ({"concepts": {"K2": 4}, "prompt": {"L": 6}}, rf"at most {MOST_PROMPTS}"),
    ],
)
def test_what_cannot_be_listed_is_refused(change, pattern):
    regime = regime_of(0, **change)
    with pytest.raises(PolysemeError, match=pattern):
        enumerate_prompts(regime)


def test_a_start_that_leaves_span_m_is_refused():
    regime = regime_of(0)
    initial = draw_initial(regime)
    spare = np.linalg.svd(initial["M"].T)[2][-1]
    with pytest.raises(PolysemeError, match="outside it"):
        project_span(initial | {"W_K": initial["W_K"] + 1e-6 * np.outer(spare, initial["M"][:, 0])}, 2)


def test_what_the_diagonal_leaves_out_vanishes_with_the_extras_for_mirrored_neurons():
    residuals = []
    for share in (0.02, 0.01, 0.0):
        regime = regime_of(
            0, prompt={"p_extra": share, "p_plus": 0.5, "L": 2}, training={"steps": 40, "record_every": 40}
        )
        start = mirrored(draw_initial(regime))
        path = integrate_span(regime, start, truncated=True)
        residuals.append(truncation_residual(regime, start, path)[-1])
        exact = integrate_span(regime, start)
        off = np.abs(path["W_Q_span"] - exact["W_Q_span"]).max()
        assert (off > 1e-6) == (share > 0)
    assert np.log2(residuals[0] / residuals[1]) == pytest.approx(1, abs=0.1)
    assert residuals[2] < 1e-13
