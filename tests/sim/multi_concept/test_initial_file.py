"""Reading initial states: what fits is read as it is, what does not is refused in one sentence."""

import re

import numpy as np
import pytest

from polyseme.errors import PolysemeError
from polyseme.sim.multi_concept.initial_file import DICTIONARY_TOLERANCE, load_initial
from polyseme.sim.multi_concept.training.initial import draw_initial
from polyseme.theory.multi_concept.regime import Regime

REGIME = Regime().replace(concepts={"K1": 2, "K2": 1, "d_x": 7, "d_y": 5}, model={"m": 4})


def saved(folder, **changes):
    """A file with the initial state of REGIME, some arrays changed, and left out where they are None."""
    arrays = draw_initial(REGIME) | changes
    path = folder / "initial.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_drawn_state_is_read_back_bit_for_bit(tmp_path, seeds):
    regime = REGIME.replace(ensemble={"seeds": seeds})
    drawn = draw_initial(regime)
    np.savez(tmp_path / "initial.npz", **drawn)
    read = load_initial(tmp_path / "initial.npz", regime)
    assert list(read) == ["W_Q", "W_K", "W_O", "r", "M", "Q"]
    assert all(np.array_equal(read[name], drawn[name]) for name in drawn)


def test_other_orders_of_r_and_other_rotations_are_accepted(tmp_path):
    state = draw_initial(REGIME)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0]
    turned = {"M": rotation @ state["M"], "r": state["r"][::-1].copy()}
    read = load_initial(saved(tmp_path, **turned), REGIME)
    assert np.array_equal(read["r"], turned["r"])
    assert np.array_equal(read["M"], turned["M"])


def test_single_precision_weights_become_double_ones(tmp_path):
    state = draw_initial(REGIME)
    read = load_initial(saved(tmp_path, W_O=state["W_O"].astype(np.float32)), REGIME)
    assert read["W_O"].dtype == np.float64
    assert np.array_equal(read["W_O"], state["W_O"].astype(np.float32))


def spoiled(name, where, value):
    array = draw_initial(REGIME)[name].copy()
    array[where] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (spoiled("W_Q", (0, 0), np.nan), "W_Q with entries that are not finite.*expected finite numbers; type "),
        (spoiled("M", (0, 0), np.inf), "M with entries that are not finite.*expected finite numbers; type "),
        ({"W_K": None}, r"got W_Q, W_O, r, M, Q, expected .*; add array W_K \(\(d_x, d_x\)"),
        ({"W_Q": np.eye(6)}, r"W_Q of shape \(6, 6\), expected \(7, 7\); type "),
        ({"W_O": np.zeros((4, 6))}, r"W_O of shape \(4, 6\), expected \(4, 5\); type "),
        ({"Q": np.zeros((5, 3))}, r"Q of shape \(5, 3\), expected \(5, 4\); type "),
        ({"r": np.full(5, 0.2)}, r"r of shape \(5,\), expected \(4,\); type "),
        ({"W_Q": np.zeros((2, 7, 7))}, r"W_Q of shape \(2, 7, 7\), expected \(1, 7, 7\); type "),
        (
            {"r": np.full(4, 0.3)},
            r"expected every r to be \+1/m or -1/m with m = 4, got one off by 0.2 of that; type r = ",
        ),
        ({"r": np.zeros(4)}, r"expected every r to be \+1/m or -1/m with m = 4, got "),
        ({"W_Q": np.eye(7) * 1j}, "got W_Q of dtype complex128, expected real numbers; write it with "),
        ({"W_Q": np.array("text")}, "got W_Q of dtype <U4, expected real numbers; write it with "),
    ],
)
def test_a_state_that_does_not_fit_is_refused(tmp_path, changes, message):
    path = saved(tmp_path, **changes)
    with pytest.raises(PolysemeError, match=f"^{re.escape(str(path))}: .*{message}") as caught:
        load_initial(path, REGIME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "key"), [("M", "kappa_x"), ("Q", "kappa_y")])
def test_a_dictionary_made_with_another_kappa_is_refused(tmp_path, name, key):
    other = draw_initial(REGIME.replace(concepts={key: 0.5}))
    with pytest.raises(PolysemeError, match=rf"columns of {name} .* overlap {key} = 0\.[23] .*; type the {key} that"):
        load_initial(saved(tmp_path, **{name: other[name]}), REGIME)


@pytest.mark.parametrize("name", ["M", "Q"])
def test_a_dictionary_is_held_to_its_tolerance(tmp_path, name):
    exact = draw_initial(REGIME)[name]
    allowed = DICTIONARY_TOLERANCE * len(exact)
    # Lengthening by x moves squared norms by 2 x: a quarter of the tolerance passes, twice as much does not.
    load_initial(saved(tmp_path, **{name: exact * (1 + allowed / 8)}), REGIME)
    with pytest.raises(PolysemeError, match=f"columns of {name} to be unit vectors"):
        load_initial(saved(tmp_path, **{name: exact * (1 + allowed)}), REGIME)


def test_columns_in_another_order_are_refused(tmp_path):
    state = draw_initial(REGIME)
    with pytest.raises(PolysemeError, match="columns of M"):
        load_initial(saved(tmp_path, M=state["M"][:, [0, 2, 1, 3, 4]]), REGIME)
