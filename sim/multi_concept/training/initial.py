"""The initial state: dictionaries and weights (docs/THEORY.md section 1, array names of section 8)."""

import numpy as np
from jaxtyping import Float

from polyseme.errors import PolysemeError
from polyseme.sim.ensemble.streams import Purpose, Variable, generator
from polyseme.sim.multi_concept.plan import check_initial_fits
from polyseme.theory.multi_concept.regime import Regime

WEIGHTS = ("W_Q", "W_K", "W_O")


def draw_initial(regime: Regime, *, first_member: int = 0) -> dict[str, np.ndarray]:
    """Random dictionaries and the initial weights of section 1.

    Returns W_Q, W_K (d_x, d_x), W_O (m, d_y), r (m,), M (d_x, 2 K1 + K2) and Q (d_y, 2 K1); the weights
    have a leading ensemble axis iff there is more than one seed. Dictionaries depend on the seed alone,
    W_O on the seed and the member (`first_member` numbers the first). Raises PolysemeError if it cannot
    fit into memory.
    """
    Regime.require(regime)
    check_initial_fits(regime)
    concepts, model, ensemble = regime.concepts, regime.model, regime.ensemble
    members = range(first_member, first_member + ensemble.seeds)
    outputs = np.stack([_output_weights(regime, member) for member in members])
    identity = model.sigma_0 * np.eye(concepts.d_x)
    many = ensemble.seeds > 1
    word_frame = _frame(regime, Variable.WORDS, concepts.d_x, 2 * concepts.K1 + concepts.K2)
    label_frame = _frame(regime, Variable.LABELS, concepts.d_y, 2 * concepts.K1)
    state = {
        "W_Q": np.tile(identity, (ensemble.seeds, 1, 1)) if many else identity,
        "W_K": np.tile(identity, (ensemble.seeds, 1, 1)) if many else identity.copy(),
        "W_O": outputs if many else outputs[0],
        "r": np.where(np.arange(model.m) % 2 == 0, 1.0, -1.0) / model.m,
        "M": _features(word_frame, concepts.K1, concepts.kappa_x),
        "Q": _features(label_frame, concepts.K1, concepts.kappa_y),
    }
    return mirrored(state) if model.neurons == "mirrored" else state


def mirrored(initial: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same state with the neurons in mirrored pairs, the initial state of level S (section 4).

    Neuron 2j+1 becomes the reflection of neuron 2j: r opposite, opposite components on every d^_k
    (beta), all other components of its label weights the same. Raises PolysemeError if the number of
    neurons is odd.
    """
    neurons = initial["r"].shape[0]
    if neurons % 2:
        raise PolysemeError(
            f"got m = {neurons} neurons and expected an even number, to pair each with its mirror image; "
            f"type m = {neurons + 1} in [model]"
        )
    difference = initial["Q"][:, 0::2] - initial["Q"][:, 1::2]
    unit_d = difference / np.linalg.norm(difference, axis=0)
    r, W_O = initial["r"].copy(), initial["W_O"].copy()
    r[1::2] = -r[0::2]
    W_O[..., 1::2, :] = W_O[..., 0::2, :] - 2 * (W_O[..., 0::2, :] @ unit_d) @ unit_d.T
    return initial | {"r": r, "W_O": W_O}


def check_initial(regime: Regime, initial: dict[str, np.ndarray]) -> bool:
    """Whether the state has an ensemble axis, once it is known to fit the regime.

    Raises PolysemeError when an array is missing, has the wrong shape, is not finite, or when the
    ensemble axis is not as long as there are seeds.
    """
    concepts, model = regime.concepts, regime.model
    shapes = {
        "W_Q": (concepts.d_x, concepts.d_x),
        "W_K": (concepts.d_x, concepts.d_x),
        "W_O": (model.m, concepts.d_y),
        "r": (model.m,),
        "M": (concepts.d_x, 2 * concepts.K1 + concepts.K2),
        "Q": (concepts.d_y, 2 * concepts.K1),
    }
    if missing := [name for name in shapes if name not in initial]:
        raise PolysemeError(
            f"the initial state has no array {missing[0]!r}; expected the arrays {', '.join(shapes)}, "
            "as `draw_initial` or an npz file of section 8 gives them"
        )
    has_axis = np.ndim(initial["W_Q"]) == 3
    for name, shape in shapes.items():
        expected = (regime.ensemble.seeds, *shape) if has_axis and name in WEIGHTS else shape
        array = np.asarray(initial[name])
        if array.shape != expected:
            raise PolysemeError(
                f"the initial state has {name} of shape {array.shape}, expected {expected}; "
                "type the sizes [concepts], [model] and [ensemble] seeds that the state was made with"
            )
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise PolysemeError(
                f"the initial state has {name} with entries that are not finite real numbers (dtype "
                f"{array.dtype}), expected finite numbers; type the name of a state that has not diverged"
            )
    return has_axis


def _output_weights(regime: Regime, member: int) -> Float[np.ndarray, "m d_y"]:
    stream = generator(regime.ensemble.seed, Purpose.INIT, Variable.OUTPUT_WEIGHTS, member=member)
    return regime.model.sigma_1 * stream.standard_normal((regime.model.m, regime.concepts.d_y))


def _frame(regime: Regime, variable: Variable, dimension: int, count: int) -> Float[np.ndarray, "d n"]:
    """`count` orthonormal columns, uniformly distributed."""
    stream = generator(regime.ensemble.seed, Purpose.DICTIONARY, variable)
    columns, triangle = np.linalg.qr(stream.standard_normal((dimension, count)))
    # QR leaves the sign of each column to the library; fixing it makes the frame uniform and reproducible.
    return columns * np.sign(np.diag(triangle))


def _features(frame: Float[np.ndarray, "d n"], K1: int, kappa: float) -> Float[np.ndarray, "d n"]:
    """Columns (a^_k, b^_k, ..., nu_r) turned into (mu_k^+, mu_k^-, ..., nu_r) with overlap kappa."""
    features = frame.copy()
    common = np.sqrt((1 + kappa) / 2) * frame[:, 0 : 2 * K1 : 2]
    difference = np.sqrt((1 - kappa) / 2) * frame[:, 1 : 2 * K1 : 2]
    features[:, 0 : 2 * K1 : 2] = common + difference
    features[:, 1 : 2 * K1 : 2] = common - difference
    return features
