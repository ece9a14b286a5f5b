"""Random regimes for searches and property tests: small, quick to run, and simplest first, so that they shrink well.

Every key of a regime is drawn from a short list whose first entry is the simplest. The hypotheses of a claim narrow the
lists (`Hypothesis.suggests`), and what they still let through is filtered.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from hypothesis import strategies as st

from polyseme.checks.core.claim import Claim, Hypothesis
from polyseme.errors import RegimeError
from polyseme.theory.multi_concept.regime import Regime, parse_regime

Values = dict[str, dict[str, Sequence[Any]]]

# Sizes at which a claim about whole runs takes some hundredths of a second, with the edges of every key.
VALUES: Values = {
    "concepts": {
        "K1": (1, 2, 3),
        "K2": (0, 1, 2),
        "kappa_x": (0.0, 0.2, 0.5, 0.9),
        "kappa_y": (0.0, 0.3, 0.5, 0.9),
        "weights": (None, "skewed"),
    },
    "prompt": {
        "L": (1, 2, 3, 4, 5, 6),
        "law": ("match", "iid"),
        "p_plus": (0.5, 0.3, 0.8),
        "p_extra": (0.0, 0.1, 0.4),
        "sigma_x": (0.0, 0.1),
        "sigma_y": (0.0, 0.1),
    },
    "model": {
        "m": (1, 2, 3, 4, 6, 8, 16, 24),
        "activation": ("relu", "leaky_relu", "identity"),
        "neurons": ("independent", "mirrored"),
        "sigma_0": (0.1, 0.3, 1.0, 0.0),
        "sigma_1": (0.1, 0.3, 1.0, 0.0),
    },
    "training": {
        "steps": (0, 1, 2, 5, 10, 20, 50, 100, 200),
        "batch": ("population", 1, 4, 16),
        "loss": ("logistic", "squared", "exponential"),
        "lam": (1e-2, 1e-3, 1e-4, 0.1, 1.0),
        "schedule": ("constant", "inverse"),
        "gamma": (2000.0, 200.0, 20.0),
        "eta": (1.0, 5.0, 0.1, 20.0),
    },
    "ensemble": {"seed": tuple(range(100))},
}
SKEW = {1: [1.0], 2: [0.75, 0.25], 3: [0.6, 0.3, 0.1]}
BEYOND_WORDS, BEYOND_LABELS = (0, 1, 3), (0, 1, 2)
"""Dimensions beyond those that the features need."""


def regimes(claim: Claim, *, drop: Collection[str] = ()) -> st.SearchStrategy[Regime]:
    """Regimes in which the claim's hypotheses hold, but for those whose key is in `drop`, of which one at least fails.

    What a check arranges by itself is not asked for; where it is dropped, it has to fail. Without a dropped hypothesis
    every regime is one that the claim speaks about.
    """
    asked = [x for x in claim.hypotheses if x.key not in drop and not x.arranged]
    dropped = [x for x in claim.hypotheses if x.key in drop]

    def wanted(regime: Regime | None) -> bool:
        if regime is None or not all(x.holds(regime) for x in asked):
            return False
        return not dropped or not all(x.holds(regime) for x in dropped)

    return _any_regime(narrowed(asked, dropped)).filter(wanted)  # pyright: ignore[reportReturnType]


def narrowed(asked: Collection[Hypothesis], dropped: Collection[Hypothesis] = ()) -> Values:
    """The lists of values after every suggestion; ones that a hypothesis gives for a key shorten those of another.

    A key that a dropped hypothesis speaks of keeps its whole list, and what was suggested besides.
    """
    values: Values = {section: dict(keys) for section, keys in VALUES.items()}
    free = {(section, key) for x in dropped for section, keys in x.suggests.items() for key in keys}
    for hypothesis in asked:
        for section, keys in hypothesis.suggests.items():
            for key, suggested in keys.items():
                before: Sequence[Any] = values[section][key]
                both = [value for value in suggested if value in before]
                if (section, key) in free:
                    values[section][key] = (*before, *(value for value in suggested if value not in before))
                else:
                    narrower = before is not VALUES[section][key] and both
                    values[section][key] = tuple(both) if narrower else tuple(suggested)
    return values


@st.composite
def _any_regime(draw: Callable[..., Any], values: Values) -> Regime | None:
    """One regime of those values, or None where two keys cannot go together."""
    tables: dict[str, dict[str, Any]] = {
        section: {key: draw(st.sampled_from(list(choices))) for key, choices in keys.items()}
        for section, keys in values.items()
    }
    concepts = tables["concepts"]
    K1 = concepts["K1"]
    concepts["weights"] = SKEW[K1] if concepts["weights"] == "skewed" and K1 in SKEW else None
    concepts["d_x"] = 2 * K1 + concepts["K2"] + draw(st.sampled_from(BEYOND_WORDS))
    concepts["d_y"] = 2 * K1 + draw(st.sampled_from(BEYOND_LABELS))
    tables["training"]["record_every"] = max(1, tables["training"]["steps"] // 10)
    tables["ensemble"] |= {"seeds": 1, "dtype": "float64", "device": "cpu"}
    try:
        return parse_regime(tables, source="a search")
    except RegimeError:
        return None
