"""Which blocks live: the computed sets, their reasons, and the full model that agrees (section 4)."""

from itertools import product

import numpy as np
import pytest

from polyseme.sim.multi_concept.training.initial import draw_initial, mirrored
from polyseme.sim.multi_concept.training.train import simulate
from polyseme.theory.multi_concept.derivation import closure as closures
from polyseme.theory.multi_concept.derivation.closure import (
    CONCEPT_BLOCKS,
    IDENTITY,
    LEVELS,
    Hypotheses,
    closure,
    risk_asymmetry,
)
from polyseme.theory.multi_concept.dynamics.span_run import word_frame
from polyseme.theory.multi_concept.regime import Regime

DIAGONAL = ("aa", "bb")
WHOLE = ("aa", "ab", "ba", "bb")
FROM_IDENTITY = {"W_Q": WHOLE, "W_K": ("aa", "ab", "bb")}
SPAN = {(s, t) for s in ("a", "b", "nu") for t in ("a", "b", "nu")} | {
    ("a", "a'"), ("a", "b'"), ("b", "a'"), ("b", "b'"), ("nu", "nu'")
}  # fmt: skip


def entries(hypotheses):
    return {name: closure(hypotheses).within_concept(name) for name in ("W_Q", "W_K")}


def test_levels_come_out_as_section_4_has_them():
    assert entries(LEVELS["S"]) == {"W_Q": DIAGONAL, "W_K": DIAGONAL}
    assert entries(LEVELS["B"]) == {"W_Q": WHOLE, "W_K": WHOLE}
    for name in ("W_Q", "W_K"):
        assert closure(LEVELS["S"]).live(name) == IDENTITY
        assert closure(LEVELS["B"]).live(name) == CONCEPT_BLOCKS
        assert closure(LEVELS["Z"]).live(name) == SPAN | {("perp", "perp")}
    assert not closure(LEVELS["B"]).across and closure(LEVELS["Z"]).across


def test_from_the_identity_one_entry_of_w_k_never_lives():
    # The gradient in W_K is (W_Q x_query) b_k^T: nothing ever enters W_K^{ba} (section 3).
    assert entries(Hypotheses()) == FROM_IDENTITY


def test_uneven_signs_break_the_symmetry_of_mirrored_neurons():
    assert entries(Hypotheses(mirrored=True, fair=False)) == FROM_IDENTITY
    # A start that the symmetry does not leave alone breaks it too.
    assert entries(Hypotheses(mirrored=True, start=CONCEPT_BLOCKS)) == {"W_Q": WHOLE, "W_K": WHOLE}


def test_mirrored_neurons_with_extras_keep_the_blocks_that_are_even_in_b():
    for name in ("W_Q", "W_K"):
        even = {block for block in SPAN if sum(x.startswith("b") for x in block) != 1}
        assert closure(Hypotheses(mirrored=True, extra=True)).live(name) == even | {("perp", "perp")}


@pytest.mark.parametrize("loss", ["squared", "exponential"])
@pytest.mark.parametrize("activation", ["leaky_relu", "identity"])
def test_other_losses_and_activations_make_the_same_blocks_live(loss, activation):
    for hypotheses in SETTINGS:
        usual, other = closure(hypotheses), closure(hypotheses, loss=loss, activation=activation)
        assert [other.live(name) for name in ("W_Q", "W_K")] == [usual.live(name) for name in ("W_Q", "W_K")]


SETTINGS = [Hypotheses(mirrored=m, fair=f, extra=x) for m, f, x in product((False, True), repeat=3)]


@pytest.mark.parametrize("hypotheses", SETTINGS)
def test_every_block_has_a_reason_and_every_reached_one_a_witness(hypotheses):
    for fates in closure(hypotheses).fates.values():
        for block, fate in fates.items():
            assert fate.reason
            assert fate.lives or fate.witness is None
            assert fate.witness is None or fate.witness > 1e-6
            assert not fate.lives or fate.witness is not None or block in hypotheses.start


@pytest.mark.parametrize("hypotheses", SETTINGS)
def test_the_full_model_makes_exactly_these_blocks_live(hypotheses):
    regime = Regime().replace(
        concepts={"K1": 2, "K2": 2, "d_x": 8, "d_y": 5, "weights": [0.4, 0.6]},
        prompt={"L": 2, "p_plus": 0.5 if hypotheses.fair else 0.3, "p_extra": 0.3 if hypotheses.extra else 0.0},
        model={"m": 8, "sigma_0": 0.4, "sigma_1": 0.5},
        training={"batch": "population", "steps": 30, "schedule": "constant", "eta": 4.0, "lam": 1e-3},
        ensemble={"seed": 5},
    )
    start = draw_initial(regime)
    start = mirrored(start) if hypotheses.mirrored else start
    run, frame = simulate(regime, start, keep_final=True), word_frame(start["M"], 2)
    names = ("a1", "b1", "a2", "b2", "nu1", "nu2")
    for name in ("W_Q", "W_K"):
        coefficients, live = np.abs(frame @ run[f"final_{name}"] @ frame.T), closure(hypotheses).live(name)
        sizes: dict = {}
        for (i, s), (j, t) in product(enumerate(names), repeat=2):
            prime = "'" if (s[:-1] == "nu") == (t[:-1] == "nu") and s[-1] != t[-1] else ""
            sizes.setdefault((s[:-1], t[:-1] + prime), []).append(coefficients[i, j])
        for block, values in sizes.items():
            # Round-off of thirty updates of sums of some thousand terms, against moves of a step that can be seen.
            assert (max(values) > 1e-8) == (block in live), (name, block, max(values))
            assert block in live or max(values) < 1e-13, (name, block, max(values))


def test_exchanging_signs_is_a_symmetry_of_fair_laws_alone():
    for extra in (False, True):
        assert risk_asymmetry(extra=extra, fair=True) < 1e-12
        assert risk_asymmetry(extra=extra, fair=False) > 1e-3


def wrongly(monkeypatch, name, replacement):
    monkeypatch.setattr(closures, name, replacement)
    return lambda hypotheses: closures._closure.__wrapped__(hypotheses, "logistic", "relu")


def test_a_block_that_cannot_be_reached_but_is_is_an_error(monkeypatch):
    # As if demonstrations could not differ: the witness contradicts the argument.
    with pytest.raises(AssertionError, match="which it cannot"):
        wrongly(monkeypatch, "_differences", lambda _hypotheses, _k: [])(Hypotheses())


def test_a_block_that_could_be_reached_but_is_not_is_an_error(monkeypatch):
    # As if the demonstrations of a pure prompt could differ in a: the argument names blocks that have no witness.
    with pytest.raises(AssertionError, match="no witness"):
        wrongly(monkeypatch, "_differences", lambda _hypotheses, k: [("a", k), ("b", k)])(Hypotheses())
