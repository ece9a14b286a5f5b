"""The sizes of a run: how much is done at once, and whether it fits into memory (no torch)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import psutil

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

# The fixed evaluation sample of regimes whose expectations have no enumeration. The 0-1 error of one member
# then has a standard error of at most 0.5 / sqrt(1024) = 0.016; `train_error` averages over fresh prompts.
EVALUATION_PROMPTS = 1024

# Every enumerated prompt goes through the model at every step. At default sizes 500,000 of them take about a
# second a step on one core and 3 GiB of memory, and their number grows like the L-th power of the kinds of words.
MOST_ENUMERATED_PROMPTS = 500_000

# Members are independent, so they may run one chunk after the other; beyond about 128 the tensors of a step
# leave the cache and the throughput falls again (benchmarks/RESULTS.md).
MEMBERS_PER_CHUNK = 128
# On a GPU launching kernels is what costs, until there are some thousand members (not measured here).
MEMBERS_PER_LAUNCH = 4096

# Prompts are drawn for many steps at once, because one draw costs as much as some ten thousand numbers; a block of
# more than the cache holds is slower again.
STEPS_PER_BLOCK = 64
BYTES_PER_BLOCK = 2**22

# Evaluation takes as many prompts at once as keep its tensors near the cache.
BYTES_PER_EVALUATION = 2**23

# A step holds its prompts, the terms that noise and extras are added from, and what autograd saves.
_COPIES_IN_A_STEP = 3
# Weights, their gradient, the float64 copy that is measured, and its products in the basis of unit vectors.
_COPIES_OF_WEIGHTS = 8
_DOUBLE = 8


# Compiling a step takes five seconds to half a minute; a run that is shorter than this without is not worth it.
WORTH_COMPILING = 30.0
# What an eager step takes at least, and what its parts take on one core.
_SECONDS_A_STEP, _SECONDS_A_PRODUCT, _SECONDS_A_NORMAL = 1.5e-3, 1e-10, 1.5e-8


def takes_long(regime: Regime) -> bool:
    """Whether minibatch training by autograd would take longer than WORTH_COMPILING seconds on one core, by estimate.

    The same answer on every machine that has a compiler: it decides how a run rounds.
    """
    if regime.training.batch == "population":
        return False
    concepts, model, seeds = regime.concepts, regime.model, regime.ensemble.seeds
    words, labels = _prompt_floats(regime)
    products = 10 * concepts.d_x**2 + 6 * model.m * concepts.d_y + 4 * (words + labels)
    normals = words * (regime.prompt.sigma_x > 0) + labels * (regime.prompt.sigma_y > 0)
    a_member = int(regime.training.batch) * (products * _SECONDS_A_PRODUCT + normals * _SECONDS_A_NORMAL)
    chunks = -(-seeds // MEMBERS_PER_CHUNK)
    return regime.training.steps * (chunks * _SECONDS_A_STEP + seeds * a_member) > WORTH_COMPILING


def member_chunks(regime: Regime, *, at_most: int = MEMBERS_PER_CHUNK) -> tuple[range, ...]:
    """Ranges of members that are trained together, as equal in size as can be, of `at_most` each."""
    seeds = regime.ensemble.seeds
    number = -(-seeds // at_most)
    edges = [seeds * j // number for j in range(number + 1)]
    return tuple(range(first, last) for first, last in pairwise(edges))


def members_in_process(regime: Regime, *, processes: int, on_gpu: bool = False) -> int:
    """How many members a process trains together: an even share, as far as the cache goes, or enough to fill a GPU."""
    return min(MEMBERS_PER_LAUNCH if on_gpu else MEMBERS_PER_CHUNK, -(-regime.ensemble.seeds // processes))


def steps_at_once(regime: Regime, *, members: int, batch: int) -> int:
    """How many steps of prompts are drawn together; no effect on the numbers drawn (`polyseme.sim.ensemble.philox`)."""
    per_prompt = 4 * (regime.prompt.L + 2)
    if not regime.prompt.is_pure:
        per_prompt += sum(_prompt_floats(regime)) + (regime.prompt.L + 1) * (regime.concepts.K1 + regime.concepts.K2)
    return max(1, min(STEPS_PER_BLOCK, BYTES_PER_BLOCK // (_DOUBLE * members * batch * per_prompt)))


def evaluation_prompts_at_once(regime: Regime, *, members: int) -> int:
    """How many evaluation prompts are put through the models together."""
    concepts, prompt, model = regime.concepts, regime.prompt, regime.model
    per_prompt = 3 * (prompt.L + 1) + 2 * concepts.d_x + 2 * concepts.d_y + 2 * model.m
    shared = sum(_prompt_floats(regime))
    return max(1, BYTES_PER_EVALUATION // (_DOUBLE * (members * per_prompt + shared)))


def enumerated_prompts(regime: Regime) -> int:
    """How many noise-free prompts there are up to the order of their demonstrations (sections 1, 3).

    A word has a sign and one of X = 3^(K1-1) 2^K2 sets of extra features (X = 1 without p_extra). The query
    is of one of the two signs and X sets, the demonstrations are a multiset of size L of the 2 X kinds of
    words; `match` excludes the multisets of the X kinds that have the other sign.
    """
    L, concepts = regime.prompt.L, regime.concepts
    X = 3 ** (concepts.K1 - 1) * 2**concepts.K2 if regime.prompt.p_extra > 0 else 1
    excluded = math.comb(X + L - 1, L) if regime.prompt.law == "match" else 0
    return 2 * concepts.K1 * X * (math.comb(2 * X + L - 1, L) - excluded)


def is_evaluated_exactly(regime: Regime) -> bool:
    """Whether the loss, error and attention along a run are exact expectations, and not those of a sample.

    Pure prompts are few. Noise-free prompts with extra features are enumerated where training does so too.
    """
    return regime.prompt.is_pure or (regime.prompt.is_noise_free and regime.training.batch == "population")


def check_enumerable(regime: Regime) -> None:
    """Raise PolysemeError if the exact expectation over prompts has no sum, or one that is too long."""
    prompt, concepts = regime.prompt, regime.concepts
    if not prompt.is_noise_free:
        raise PolysemeError(
            f"batch = 'population' needs prompts without noise, whose expectation is a finite sum, and got sigma_x = "
            f"{prompt.sigma_x}, sigma_y = {prompt.sigma_y}; type 0 for both in [prompt], or a number for batch in "
            "[training]"
        )
    if prompt.p_extra == 0:
        return  # as few as there are counts; memory is the only limit
    # There are at least X^2 and at least L of them. Those bounds first: in a large regime the number itself would
    # be too large to compute.
    log2_X = (concepts.K1 - 1) * math.log2(3) + concepts.K2
    bounded = 2 * log2_X <= math.log2(MOST_ENUMERATED_PROMPTS) and prompt.L <= MOST_ENUMERATED_PROMPTS
    if not bounded or enumerated_prompts(regime) > MOST_ENUMERATED_PROMPTS:
        raise PolysemeError(
            f"with p_extra = {prompt.p_extra} the exact expectation is a sum over too many prompts, and at most "
            f"{MOST_ENUMERATED_PROMPTS:,} were expected; type a smaller value of L in [prompt] (L = {prompt.L}) or "
            f"of K1 or K2 in [concepts] (K1 = {concepts.K1}, K2 = {concepts.K2}), or a number for batch in [training]"
        )


@dataclass(frozen=True, kw_only=True)
class _Need:
    """The memory of one part of a run, and the keys of the regime that it is a product of."""

    what: str
    bytes: int
    keys: tuple[str, ...]


def check_fits(
    regime: Regime, *, keep_counts: bool = False, keep_weights: bool = False, together: int | None = None
) -> None:
    """Raise PolysemeError if the run cannot fit into the memory that is available now.

    Also if it asks for exact expectations that cannot be enumerated. The memory is an estimate from sizes
    alone, before anything is allocated: weights and their gradients, prompts of a step and of the
    evaluation, bases of unit vectors, and all that is recorded; `together` members are in training at a time, in one process or
    several. On a GPU the same numbers are compared with the memory of the host, which is where the trajectory ends up.
    """
    if regime.training.batch == "population":
        check_enumerable(regime)

    def needs(of: Regime) -> list[_Need]:
        asked = ((keep_counts, _counts), (keep_weights, _weights_of_records))
        return [*_needs(of, together), *(need(of) for wanted, need in asked if wanted)]

    _raise_if_larger(regime, needs)


def check_initial_fits(regime: Regime) -> None:
    """Raise PolysemeError if the initial state alone cannot fit into the memory that is available now."""
    _raise_if_larger(regime, lambda of: [_dictionaries(of), _initial(of)])


def _raise_if_larger(regime: Regime, needs_of: Callable[[Regime], list[_Need]]) -> None:
    available, needs = psutil.virtual_memory().available, needs_of(regime)
    total = sum(need.bytes for need in needs)
    if total > available:
        largest = max(needs, key=lambda need: need.bytes)

        def fits(other: Regime) -> bool:
            return sum(need.bytes for need in needs_of(other)) <= available

        raise PolysemeError(
            f"this regime needs about {_readable(total)} of memory, most of it ({_readable(largest.bytes)}) "
            f"for {largest.what}, and {_readable(available)} are available; type {_advice(regime, largest, fits)}"
        )


def _advice(regime: Regime, need: _Need, fits: Callable[[Regime], bool]) -> str:
    """The key whose value has to change least, in proportion, for the run to fit; the largest factor if none is enough."""
    sections = {key: (name, table[key]) for name, table in regime.model_dump().items() for key in table}
    sizes = {key: value for key, (_, value) in sections.items() if isinstance(value, int)}
    sizes["record_every"] = regime.training.record_count()
    keys = sorted((key for key in need.keys if key in sizes), key=lambda key: -sizes[key])
    limits = {key: _limit(regime, sections[key][0], key, fits) for key in keys}
    enough = {key: limit for key, limit in limits.items() if limit is not None}
    if not enough:
        section, value = sections[keys[0]]
        direction = "larger" if keys[0] == "record_every" else "smaller"
        return f"a {direction} value of {keys[0]} in [{section}], which has {keys[0]} = {value}, and of others: one is not enough"

    def change(key: str) -> float:
        value = sections[key][1] if isinstance(sections[key][1], int) else 1
        return max(enough[key], value) / min(enough[key], value)

    key = min(enough, key=change)
    section, value = sections[key]
    return f"{key} = {enough[key]} or {'more' if key == 'record_every' else 'less'} in [{section}], which has {key} = {value}"


def _limit(regime: Regime, section: str, key: str, fits: Callable[[Regime], bool]) -> int | None:
    """The value of one key next to its own with which the run fits, by bisection; None if no possible one is enough."""

    def possible(value: int) -> bool:
        try:
            return fits(regime.replace(**{section: {key: value}}))
        except PolysemeError:
            return False

    value = getattr(getattr(regime, section), key)
    if key == "record_every":
        good, bad = regime.training.steps, value if isinstance(value, int) else 1
    else:
        least = 2 * regime.concepts.K1 + (regime.concepts.K2 if key == "d_x" else 0) if key in ("d_x", "d_y") else 1
        good, bad = least, value
    if not possible(good):
        return None
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if possible(middle) else (good, middle)
    return good


def _needs(regime: Regime, together: int | None = None) -> list[_Need]:
    concepts, training, ensemble = regime.concepts, regime.training, regime.ensemble
    members = min(together or MEMBERS_PER_CHUNK, ensemble.seeds)
    population = training.batch == "population"
    batch = enumerated_prompts(regime) if population else int(training.batch)
    per_prompt = sum(_prompt_floats(regime)) + 2 * concepts.d_x + 2 * regime.model.m
    ahead = 0 if regime.prompt.is_pure else 1 if population else steps_at_once(regime, members=members, batch=batch)
    measured = enumerated_prompts(regime) if is_evaluated_exactly(regime) else EVALUATION_PROMPTS
    # With extra features the number of enumerated prompts outgrows the size of each: d_x or m would be bad advice.
    of_prompts = ("L", "K1", "K2") if population and not regime.prompt.is_pure else ("L", "d_x", "d_y", "m", "K1")
    observables = 8 * concepts.K1 + 2 * regime.model.m * concepts.K1 + 16
    return [
        _dictionaries(regime),
        _initial(regime),
        _Need(
            what="training weights and their gradients",
            bytes=_DOUBLE * members * _weight_floats(regime) * _COPIES_OF_WEIGHTS,
            keys=("d_x", "d_y", "m"),
        ),
        _Need(
            what="the prompts of a step",
            bytes=_DOUBLE * members * batch * per_prompt * (_COPIES_IN_A_STEP + ahead),
            keys=("batch", *of_prompts),
        ),
        _Need(
            what="the evaluation prompts",
            bytes=_DOUBLE * measured * per_prompt * 3,
            keys=of_prompts,
        ),
        _Need(
            what="the recorded trajectory",
            bytes=_DOUBLE * ensemble.seeds * regime.training.record_count() * observables * 2,
            keys=("seeds", "record_every", "m", "K1"),
        ),
    ]


def _dictionaries(regime: Regime) -> _Need:
    concepts = regime.concepts
    return _Need(
        what="the dictionaries and bases of unit vectors",
        bytes=_DOUBLE * 3 * (concepts.d_x**2 + concepts.d_y**2),
        keys=("d_x", "d_y"),
    )


def _initial(regime: Regime) -> _Need:
    return _Need(
        what="the weights of all members",
        bytes=_DOUBLE * 2 * regime.ensemble.seeds * _weight_floats(regime),
        keys=("seeds", "d_x", "d_y", "m"),
    )


def _counts(regime: Regime) -> _Need:
    outcomes = regime.concepts.K1 * 2 * (regime.prompt.L + 1)
    return _Need(
        what="the kept prompt counts",
        bytes=4 * regime.ensemble.seeds * regime.training.steps * outcomes * 2,
        keys=("steps", "seeds", "L", "K1"),
    )


def _weights_of_records(regime: Regime) -> _Need:
    return _Need(
        what="the weights at every record",
        bytes=_DOUBLE * 2 * regime.ensemble.seeds * regime.training.record_count() * _weight_floats(regime),
        keys=("seeds", "record_every", "d_x", "d_y", "m"),
    )


def _weight_floats(regime: Regime) -> int:
    return 2 * regime.concepts.d_x**2 + regime.model.m * regime.concepts.d_y


def _prompt_floats(regime: Regime) -> tuple[int, int]:
    """Numbers in the words (query included) and in the labels of one prompt."""
    return (regime.prompt.L + 1) * regime.concepts.d_x, regime.prompt.L * regime.concepts.d_y


def _readable(amount: int) -> str:
    size = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} PiB"
