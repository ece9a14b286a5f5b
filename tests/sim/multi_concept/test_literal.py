"""The model, its gradient and its training against loops that only repeat section 1 in words."""

import itertools
import math

import numpy as np
import pytest
import torch

from polyseme.sim.ensemble.streams import Purpose
from polyseme.sim.multi_concept.measurements import probe
from polyseme.sim.multi_concept.prompts.draws import PromptStream
from polyseme.sim.multi_concept.prompts.tensors import Block, Dictionaries, Prompts
from polyseme.sim.multi_concept.training.initial import WEIGHTS, draw_initial
from polyseme.sim.multi_concept.training.model import Functions, Weights, forward, outcome
from polyseme.sim.multi_concept.training.train import simulate

# Every quantity here is a sum of fewer than 1e3 products of order-1 float64 numbers: 1e3 eps = 2e-13, and a
# factor of 10 for the softmax and for cancellations.
ROUND_OFF = 2e-12

ACTIVATIONS = ("relu", "leaky_relu", "identity")
LOSSES = ("logistic", "squared", "exponential")
FUNCTIONS = list(itertools.product(ACTIVATIONS, LOSSES))
DEFAULT = Functions(activation="relu", loss="logistic")
# The leaky ReLU's slope below zero, and at zero, as everywhere that of the negative side.
BELOW = {"relu": 0.0, "leaky_relu": 1 / 8, "identity": 1.0}


def literal_f(state, x, y, x_query, activation="relu"):
    """One prompt of section 1, a line for each formula: output f, attention weights p, pre-activations h, v."""
    L, m = len(x), len(state["r"])
    s = [float((state["W_K"] @ x[j]) @ (state["W_Q"] @ x_query)) for j in range(L)]
    largest = max(s)
    total = math.fsum(math.exp(s[j] - largest) for j in range(L))
    p = [math.exp(s[j] - largest) / total for j in range(L)]
    v = sum(p[j] * y[j] for j in range(L))
    h = [float(state["W_O"][i] @ v) for i in range(m)]
    f = math.fsum(state["r"][i] * (h[i] if h[i] > 0 else BELOW[activation] * h[i]) for i in range(m))
    return f, p, h, v


def literal_loss(z, loss="logistic"):
    if loss == "squared":
        return (1 - z) ** 2 / 2
    if loss == "exponential":
        return math.exp(-z)
    return math.log1p(math.exp(-z)) if z > 0 else -z + math.log1p(math.exp(z))


def literal_gradient(state, x, y, x_query, e, activation="relu", loss="logistic"):
    """The chain rule by hand, summed over neurons and demonstrations one by one."""
    f, p, h, v = literal_f(state, x, y, x_query, activation)
    z = e * f
    of_margin = {"logistic": -1 / (1 + math.exp(z)), "squared": z - 1, "exponential": -math.exp(-z)}[loss]
    slope = e * of_margin  # derivative of l(e f) in f
    gradient = {name: np.zeros_like(state[name]) for name in WEIGHTS}
    through_v = np.zeros_like(v)
    for i in range(len(h)):
        gate = 1.0 if h[i] > 0 else BELOW[activation]
        gradient["W_O"][i] += slope * state["r"][i] * gate * v
        through_v += slope * state["r"][i] * gate * state["W_O"][i]
    for j in range(len(x)):
        through_s = p[j] * float((y[j] - v) @ through_v)
        gradient["W_Q"] += through_s * np.outer(state["W_K"] @ x[j], x_query)
        gradient["W_K"] += through_s * np.outer(state["W_Q"] @ x_query, x[j])
    return gradient


def every_pure_prompt(regime, state):
    """All 2 K1 2^L pure prompts, demonstration by demonstration, with their probabilities."""
    L, M, Q, of_sign = regime.prompt.L, state["M"], state["Q"], {1: regime.prompt.p_plus, -1: 1 - regime.prompt.p_plus}
    prompts = []
    for k, e, *signs in itertools.product(range(regime.concepts.K1), (1, -1), *[(1, -1)] * L):
        if regime.prompt.law == "match" and e not in signs:
            continue
        column = [2 * k + (sign < 0) for sign in signs]
        prompt = (M.T[column], Q.T[column], M[:, 2 * k + (e < 0)], e)
        # e is drawn before the demonstrations, so the condition on a match divides within each k and e.
        of_demonstrations = math.prod(of_sign[sign] for sign in signs)
        if regime.prompt.law == "match":
            of_demonstrations /= 1 - of_sign[-e] ** L
        prompts.append((prompt, regime.concepts.probabilities[k] * of_sign[e] * of_demonstrations, signs))
    return prompts


def random_prompts(rng, members, batch, L, d_x, d_y):
    tensor = lambda *shape: torch.from_numpy(rng.standard_normal(shape))  # noqa: E731  (a local shorthand)
    return Prompts(
        x=tensor(members, batch, L, d_x),
        y=tensor(members, batch, L, d_y),
        x_query=tensor(members, batch, d_x),
        e=tensor(members, batch).sign(),
        concept=torch.zeros(members, batch, dtype=torch.int64),
        signs=tensor(members, batch, L).sign(),
        probability=torch.full((1, batch), 1 / batch, dtype=torch.float64),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("activation", "loss_name"), FUNCTIONS)
def test_forward_and_outcome_are_section_1(seed, shared, activation, loss_name):
    rng = np.random.default_rng(seed)
    E, B, L, d_x, d_y, m = (int(n) for n in rng.integers(1, 7, size=6))
    prompts = random_prompts(rng, 1 if shared else E, B, L, d_x, d_y)
    shapes = {"W_Q": (E, d_x, d_x), "W_K": (E, d_x, d_x), "W_O": (E, m, d_y), "r": (m,)}
    state = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    weights = Weights.of(state, device=torch.device("cpu"), dtype=torch.float64)
    f, p = forward(weights, prompts, activation)
    measured = outcome(weights, prompts, Functions(activation=activation, loss=loss_name))
    for member in range(E):
        one = {name: state[name][member] for name in WEIGHTS} | {"r": state["r"]}
        group = 0 if shared else member
        loss = error = attention = 0.0
        for b in range(B):
            e, signs = float(prompts.e[group, b]), prompts.signs[group, b].numpy()
            expected_f, expected_p, _, _ = literal_f(
                one, *(getattr(prompts, name)[group, b].numpy() for name in ("x", "y", "x_query")), activation
            )
            np.testing.assert_allclose(f[member, b].item(), expected_f, rtol=ROUND_OFF, atol=ROUND_OFF)
            np.testing.assert_allclose(p[member, b].detach(), expected_p, rtol=1e-10, atol=ROUND_OFF)
            loss += literal_loss(e * expected_f, loss_name) / B
            error += (e * expected_f <= 0) / B
            attention += sum(expected_p[j] for j in range(L) if signs[j] == e) / B
        expected = [loss, error, attention]
        got = [measured.loss[member].item(), measured.error[member].item(), measured.attention[member].item()]
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=ROUND_OFF)


def test_loss_is_exact_where_softplus_is_not():
    # f = +-25 by construction: attention to one demonstration is 1, one neuron reads one label component.
    state = {"W_Q": np.zeros((1, 1, 1)), "W_K": np.zeros((1, 1, 1)), "W_O": np.ones((1, 1, 1)), "r": np.ones(1)}
    weights = Weights.of(state, device=torch.device("cpu"), dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    prompts = Prompts(
        x=one[..., None, None],
        y=25 * one[..., None, None],
        x_query=one[..., None],
        e=-one,
        concept=torch.zeros(1, 1, dtype=torch.int64),
        signs=one[..., None],
        probability=one,
    )
    # log(1 + e^25) = 25 + e^-25 and e^-25 = 1.4e-11 is 4000 spacings of float64 at 25.
    assert outcome(weights, prompts, DEFAULT).loss.item() == pytest.approx(25 + math.exp(-25), rel=1e-15)
    assert abs(outcome(weights, prompts, DEFAULT).loss.item() - 25) > 1e-11


# One neuron takes the scalar code of torch, nineteen its vectors and their remainder.
@pytest.mark.parametrize("m", [1, 19])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_at_exactly_zero_the_slope_is_that_of_the_negative_side(activation, m):
    # W_O = 0 makes every pre-activation 0: f = 0, l'(0) = -1/2, v = 1, so d/dW_O = -e r act'(0) / 2.
    state = {"W_Q": np.eye(1), "W_K": np.eye(1), "W_O": np.zeros((m, 1)), "r": np.linspace(0.5, 1.0, m)}
    prompts = {"x": np.ones((1, 1, 1)), "y": np.ones((1, 1, 1)), "x_query": np.ones((1, 1)), "e": -np.ones(1)}
    gradient = probe.prompt_gradients(state, prompts, activation=activation)["W_O"][:, 0]
    np.testing.assert_array_equal(gradient, state["r"] * BELOW[activation] / 2)


def test_a_closed_gate_and_a_gate_at_zero_have_no_gradient_and_a_zero_margin_is_an_error():
    state = {"W_Q": np.eye(1), "W_K": np.eye(1), "W_O": np.array([[0.0], [-1.0]]), "r": np.array([0.5, -0.5])}
    prompts = {name: np.ones(shape) for name, shape in {"x": (1, 1, 1), "y": (1, 1, 1)}.items()}
    prompts |= {"x_query": np.ones((1, 1)), "e": np.ones(1)}
    assert not probe.prompt_gradients(state, prompts)["W_O"].any()
    weights = Weights.of(
        {name: state[name][None] for name in WEIGHTS} | {"r": state["r"]},
        device=torch.device("cpu"),
        dtype=torch.float64,
    )
    given = random_prompts(np.random.default_rng(0), 1, 1, 1, 1, 1)
    silent = Prompts(**(given.__dict__ | {"y": torch.zeros_like(given.y)}))
    assert outcome(weights, silent, DEFAULT).error.item() == 1


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("activation", "loss"), FUNCTIONS)
def test_gradients_of_general_prompts(seed, activation, loss, random_regime, generic_state):
    rng = np.random.default_rng(seed)
    regime = random_regime(seed)
    state = generic_state(regime, seed)
    B, L, d_x, d_y = 3, regime.prompt.L, regime.concepts.d_x, regime.concepts.d_y
    prompts = {"x": rng.standard_normal((B, L, d_x)), "y": rng.standard_normal((B, L, d_y))}
    prompts |= {"x_query": rng.standard_normal((B, d_x)), "e": np.sign(rng.standard_normal(B))}
    each = [tuple(prompts[name][b] for name in ("x", "y", "x_query", "e")) for b in range(B)]

    def mean_loss():
        return sum(literal_loss(e * literal_f(state, x, y, q, activation)[0], loss) for x, y, q, e in each) / B

    gradient = probe.prompt_gradients(state, prompts, activation=activation, loss=loss)
    by_hand = [literal_gradient(state, *prompt, activation, loss) for prompt in each]
    h = 1e-6
    for name in WEIGHTS:
        expected = sum(one[name] for one in by_hand) / B
        np.testing.assert_allclose(gradient[name], expected, rtol=0, atol=ROUND_OFF)
        for index in np.ndindex(state[name].shape):
            kept = state[name][index]
            state[name][index] = kept + h
            above = mean_loss()
            state[name][index] = kept - h
            below = mean_loss()
            state[name][index] = kept
            # Round-off of the difference, 1e-15 / h = 1e-9, and a cubic term of order h^2 = 1e-12.
            assert gradient[name][index] == pytest.approx((above - below) / (2 * h), abs=1e-8)


@pytest.mark.parametrize("law", ["match", "iid"])
@pytest.mark.parametrize(
    ("activation", "loss_name", "p_plus"),
    [*((*functions, 0.3) for functions in FUNCTIONS), ("relu", "logistic", 0.5), ("leaky_relu", "squared", 0.9)],
)
def test_population_gradient_and_expectations_are_sums_over_all_prompts(
    activation, loss_name, p_plus, law, random_regime, generic_state
):
    seed = FUNCTIONS.index((activation, loss_name))
    regime = random_regime(
        seed,
        prompt={"law": law, "p_plus": p_plus},
        model={"activation": activation},
        training={"steps": 0, "batch": "population", "loss": loss_name},
    )
    state = generic_state(regime, seed)
    expected = {name: np.zeros_like(state[name]) for name in WEIGHTS}
    loss = error = attention = 0.0
    for prompt, probability, signs in every_pure_prompt(regime, state):
        f, p, _, _ = literal_f(state, *prompt[:3], activation)
        e = prompt[3]
        loss += probability * literal_loss(e * f, loss_name)
        error += probability * (e * f <= 0)
        attention += probability * sum(p[j] for j in range(len(p)) if signs[j] == e)
        for name, part in literal_gradient(state, *prompt, activation, loss_name).items():
            expected[name] += probability * part
    got = probe.population_gradient(regime, state)
    for name in WEIGHTS:
        np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=ROUND_OFF)
    assert got["loss"] == pytest.approx(loss, abs=ROUND_OFF)
    path = simulate(regime, state)
    for name, value in {"loss": loss, "error": error, "attention": attention}.items():
        assert path[name] == pytest.approx([value], abs=ROUND_OFF)
        assert path[f"train_{name}"] == pytest.approx([value], abs=ROUND_OFF)


@pytest.mark.parametrize(
    ("law", "schedule", "activation", "loss", "p_plus"),
    [
        ("match", "inverse", "relu", "logistic", 0.5),
        ("iid", "constant", "relu", "logistic", 0.25),
        ("match", "constant", "leaky_relu", "squared", 0.8),
        ("iid", "inverse", "identity", "exponential", 0.5),
        ("match", "inverse", "leaky_relu", "exponential", 0.25),
        ("iid", "constant", "identity", "squared", 0.8),
    ],
)
def test_population_descent_is_the_loop(law, schedule, activation, loss, p_plus, random_regime, generic_state):
    regime = random_regime(
        7,
        prompt={"law": law, "L": 3, "p_plus": p_plus},
        model={"activation": activation},
        training={
            "steps": 25,
            "batch": "population",
            "loss": loss,
            "schedule": schedule,
            "lam": 0.02,
            "gamma": 40.0,
            "eta": 1.5,
        },
    )
    state = generic_state(regime, 7)
    path = simulate(regime, state, keep_final=True)
    model = {name: array.copy() for name, array in state.items()}
    for t in range(25):
        eta = 2 / (0.02 * (40 + t)) if schedule == "inverse" else 1.5
        step = {name: 0.02 * model[name] for name in WEIGHTS}
        for prompt, probability, _ in every_pure_prompt(regime, model):
            for name, part in literal_gradient(model, *prompt, activation, loss).items():
                step[name] = step[name] + probability * part
        for name in WEIGHTS:
            model[name] = model[name] - eta * step[name]
    for name in WEIGHTS:
        # 25 steps of size about 2 amplify round-off by at most some hundreds here; a missing term shows at 1e-3.
        np.testing.assert_allclose(path[f"final_{name}"], model[name], rtol=0, atol=1e-10)
    moved = max(np.abs(path[f"final_{name}"] - state[name]).max() for name in WEIGHTS)
    assert moved > 0.1


def test_noisy_sgd_is_the_loop_over_the_same_prompts(random_regime):
    regime = random_regime(
        3,
        concepts={"K1": 2, "K2": 2, "d_x": 8, "d_y": 6, "weights": [0.3, 0.7]},
        prompt={"p_extra": 0.3, "sigma_x": 0.2, "sigma_y": 0.1, "L": 3},
        training={"steps": 12, "batch": 4, "lam": 0.02, "gamma": 60.0, "record_every": 5},
        ensemble={"seeds": 3},
    )
    initial = draw_initial(regime)
    path = simulate(regime, initial, keep_final=True)
    dictionaries = Dictionaries.of(initial, device=torch.device("cpu"), dtype=torch.float64)
    draws = PromptStream(regime, purpose=Purpose.DATA, members=range(3), batch=4).draw(12)
    losses = np.zeros((3, 12))
    for member in range(3):
        model = {name: initial[name][member] for name in WEIGHTS} | {"r": initial["r"]}
        for t, prompts in enumerate(Block(draws, dictionaries).steps()):
            step = {name: 0.02 * model[name] for name in WEIGHTS}
            for b in range(4):
                x, y, q = (getattr(prompts, name)[member, b].numpy() for name in ("x", "y", "x_query"))
                e = float(prompts.e[member, b])
                losses[member, t] += literal_loss(e * literal_f(model, x, y, q)[0]) / 4
                for name, part in literal_gradient(model, x, y, q, e).items():
                    step[name] = step[name] + part / 4
            for name in WEIGHTS:
                model[name] = model[name] - 2 / (0.02 * (60 + t)) * step[name]
        for name in WEIGHTS:
            np.testing.assert_allclose(path[f"final_{name}"][member], model[name], rtol=0, atol=1e-10)
    # Record 0 is the first batch; record j averages the steps since record j-1, each before its update.
    expected = [losses[:, 0], losses[:, 0:5].mean(1), losses[:, 5:10].mean(1), losses[:, 10:12].mean(1)]
    assert path["step"].tolist() == [0, 5, 10, 12]
    np.testing.assert_allclose(path["train_loss"], np.stack(expected, axis=1), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("activation", "loss", "prompt"),
    [
        ("leaky_relu", "squared", {"p_plus": 0.3, "p_extra": 0.4}),
        ("identity", "exponential", {"p_plus": 0.8, "sigma_x": 0.2, "sigma_y": 0.1, "law": "iid"}),
        ("relu", "logistic", {}),
    ],
)
def test_a_sequence_of_prompts_retrains_the_run(activation, loss, prompt, random_regime):
    sizes = {"K1": 2, "K2": 1, "d_x": 6, "d_y": 5, "weights": [0.4, 0.6]}
    regime = random_regime(
        5,
        concepts=sizes,
        prompt={"L": 3} | prompt,
        model={"activation": activation},
        training={"steps": 9, "batch": 3, "loss": loss, "lam": 0.02, "gamma": 60.0},
    )
    initial = draw_initial(regime)
    path = simulate(regime, initial, keep_final=True)
    sequence = probe.sequence_of_prompts(regime, initial, steps=9)
    model = dict(initial)
    for t in range(9):
        step = {name: 0.02 * model[name] for name in WEIGHTS}
        for b in range(3):
            given = (sequence[name][t, b] for name in ("x", "y", "x_query", "e"))
            for name, part in literal_gradient(model, *given, activation, loss).items():
                step[name] = step[name] + part / 3
        model |= {name: model[name] - 2 / (0.02 * (60 + t)) * step[name] for name in WEIGHTS}
    for name in WEIGHTS:
        np.testing.assert_allclose(path[f"final_{name}"], model[name], rtol=0, atol=1e-10)
    assert max(np.abs(model[name] - initial[name]).max() for name in WEIGHTS) > 0.01
