"""What the simulator is measured against: a loop of plain modules, torch.func, and JAX, all of the same model.

Each gives a function of the number of steps that trains all members for so many steps, after a warm-up of its own. `fresh`
draws new noisy prompts at every step; otherwise one batch in memory is used again and again: compute alone.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from polyseme.theory.multi_concept.regime import Regime

Train = Callable[[int], None]
ETA = 1e-3


def arrays(regime: Regime) -> dict[str, np.ndarray]:
    """The initial state and one batch of literal prompts for every member, in the precision of the regime."""
    from polyseme.sim.ensemble.streams import Purpose
    from polyseme.sim.multi_concept.prompts.draws import PromptStream
    from polyseme.sim.multi_concept.prompts.tensors import Block, Dictionaries
    from polyseme.sim.multi_concept.training.initial import draw_initial

    state, members = draw_initial(regime), range(regime.ensemble.seeds)
    dictionaries = Dictionaries.of(state, device=torch.device("cpu"), dtype=torch.float64)
    stream = PromptStream(regime, purpose=Purpose.DATA, members=members, batch=int(regime.training.batch))
    prompts = Block(stream.draw(1), dictionaries).step(0)
    found = state | {name: getattr(prompts, name).numpy() for name in ("x", "y", "x_query", "e")}
    return {name: array.astype(regime.ensemble.dtype) for name, array in found.items()}


class Transformer(nn.Module):
    """The model as one would write it."""

    def __init__(self, state: dict[str, np.ndarray], member: int) -> None:
        """One member of an ensemble."""
        super().__init__()
        for name in ("W_Q", "W_K", "W_O"):
            setattr(self, name, nn.Parameter(torch.tensor(state[name][member])))
        self.register_buffer("r", torch.tensor(state["r"]))

    def forward(self, x: torch.Tensor, y: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """f of every prompt."""
        keys, q = x @ self.W_K.T, query @ self.W_Q.T
        p = torch.einsum("bld,bd->bl", keys, q).softmax(-1)
        v = torch.einsum("bl,bld->bd", p, y)
        return torch.relu(v @ self.W_O.T) @ self.r


def _torch_prompts(regime: Regime, data: dict[str, np.ndarray], shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Fresh prompts with noise, iid signs without a match: less work than the law itself."""
    words, labels = torch.from_numpy(data["M"].T.copy()), torch.from_numpy(data["Q"].T.copy())
    prompt = regime.prompt
    concept = torch.randint(regime.concepts.K1, (*shape, 1))
    minus = torch.randint(2, (*shape, prompt.L + 1))
    column = 2 * concept + minus
    x = words[column] + prompt.sigma_x * torch.randn(*column.shape, words.shape[1], dtype=words.dtype)
    y = labels[column[..., :-1]]
    y = y + prompt.sigma_y * torch.randn_like(y)
    return x[..., :-1, :], y, x[..., -1, :], (1 - 2 * minus[..., -1]).to(words.dtype)


def loop_of_modules(regime: Regime, *, fresh: bool) -> Train:
    """One nn.Module, one optimizer and one backward pass for every member."""
    data, training = arrays(regime), regime.training
    models = [Transformer(data, member) for member in range(regime.ensemble.seeds)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=ETA, weight_decay=training.lam) for model in models]
    kept = [tuple(torch.from_numpy(data[name][j]) for name in ("x", "y", "x_query", "e")) for j in range(len(models))]

    def train(steps: int) -> None:
        for _ in range(steps):
            for model, optimizer, pool in zip(models, optimizers, kept, strict=True):
                x, y, query, e = _torch_prompts(regime, data, (int(training.batch),)) if fresh else pool
                loss = nn.functional.softplus(-e * model(x, y, query)).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return train


def torch_vmap(regime: Regime, *, fresh: bool) -> Train:
    """torch.func: vmap of grad of a functional call."""
    from torch.func import functional_call, grad, stack_module_state, vmap

    data, training = arrays(regime), regime.training
    members = regime.ensemble.seeds
    models = [Transformer(data, member) for member in range(members)]
    weights, buffers = stack_module_state(models)
    weights = {name: weight.detach() for name, weight in weights.items()}
    skeleton = models[0]
    pool = tuple(torch.from_numpy(data[name]) for name in ("x", "y", "x_query", "e"))

    def loss(weight: dict, buffer: dict, x, y, query, e) -> torch.Tensor:
        return nn.functional.softplus(-e * functional_call(skeleton, (weight, buffer), (x, y, query))).mean()

    gradient = vmap(grad(loss))

    def train(steps: int) -> None:
        nonlocal weights
        for _ in range(steps):
            batch = _torch_prompts(regime, data, (members, int(training.batch))) if fresh else pool
            of_weight = gradient(weights, buffers, *batch)
            weights = {
                name: weight * (1 - ETA * training.lam) - ETA * of_weight[name] for name, weight in weights.items()
            }

    return train


def jax_scan(regime: Regime, *, fresh: bool) -> Train:
    """JAX: vmap, grad and scan under jit, keys not projected, normals by threefry inside the scan."""
    import jax
    import jax.numpy as jnp

    double = regime.ensemble.dtype == "float64"
    jax.config.update("jax_enable_x64", double)
    data, training, prompt = arrays(regime), regime.training, regime.prompt
    dtype = jnp.float64 if double else jnp.float32
    words, labels, r = (jnp.asarray(x) for x in (data["M"].T, data["Q"].T, data["r"]))
    pool = tuple(jnp.asarray(data[name]) for name in ("x", "y", "x_query", "e"))

    def loss(weight, x, y, query, e):
        u = (query @ weight["W_Q"].T) @ weight["W_K"]
        p = jax.nn.softmax((x * u[:, None]).sum(-1))
        v = (p[..., None] * y).sum(1)
        f = jax.nn.relu(v @ weight["W_O"].T) @ r
        return jax.nn.softplus(-e * f).mean()

    def prompts(key):
        of_concept, of_sign, of_word, of_label = jax.random.split(key, 4)
        batch = int(training.batch)
        concept = jax.random.randint(of_concept, (batch, 1), 0, regime.concepts.K1)
        minus = jax.random.bernoulli(of_sign, 0.5, (batch, prompt.L + 1)).astype(int)
        column = 2 * concept + minus
        x = words[column] + prompt.sigma_x * jax.random.normal(of_word, (*column.shape, words.shape[1]), dtype)
        y = labels[column[:, :-1]]
        y = y + prompt.sigma_y * jax.random.normal(of_label, y.shape, dtype)
        return x[:, :-1], y, x[:, -1], (1 - 2 * minus[:, -1]).astype(dtype)

    def one(weight, key, batch):
        of_weight = jax.grad(loss)(weight, *(prompts(key) if fresh else batch))
        return {name: weight[name] * (1 - ETA * training.lam) - ETA * of_weight[name] for name in weight}

    members = regime.ensemble.seeds

    def many(weights, keys):
        def step(weights, key):
            return jax.vmap(one)(weights, jax.random.split(key, members), pool), None

        return jax.lax.scan(step, weights, keys)[0]

    compiled, key = jax.jit(many), jax.random.key(0)
    weights = {name: jnp.asarray(data[name]) for name in ("W_Q", "W_K", "W_O")}

    def train(steps: int) -> None:
        nonlocal weights, key
        key, here = jax.random.split(key)
        weights = jax.block_until_ready(compiled(weights, jax.random.split(here, steps)))

    return train


BASELINES: dict[str, Callable[..., Train]] = {
    "loop of nn.Module": loop_of_modules,
    "torch.func vmap": torch_vmap,
    "JAX vmap + scan": jax_scan,
}
