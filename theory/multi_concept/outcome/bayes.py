"""The posterior of the query's label in a noisy prompt, and the Bayes error: the best that any predictor can do (docs/THEORY.md section 1).

It uses the law of the prompts and the dictionaries, and no trained model. What is unknown in a prompt is its concept k, the
query's label e, the sign of each demonstration, and which other concepts and features each word carries; all of it is
summed over exactly. With likelihoods relative to that of noise alone, features are orthogonal between concepts, so the
sum over the codes of a word is a product over concepts; of one concept the words mu^+ and mu^- exclude each other, and
their overlap kappa never enters. With

    g_{k,s} = (<x, mu_k^s> - |mu_k^s|^2 / 2) / sigma_x^2 + (<y, q_k^s> - |q_k^s|^2 / 2) / sigma_y^2     (the query: x alone)
    o_k     = log(1 - p_extra + p_extra (p_plus exp g_{k,+} + (1 - p_plus) exp g_{k,-}))

a word with own concept k and sign s has log-likelihood g_{k,s} - o_k plus what is the same for every k and s: the sum of all
o_k, and the features nu, which carry no information about e.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logsumexp

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

LEAST_NOISE = 1e-5
"""Log-likelihoods are of order 1 / sigma^2: below this, their roundings would move the posterior by more than about 1e-6."""
# Features of different concepts that overlap by more than roundings of a dictionary, also one in float32.
_OVERLAP = 1e-5


def posterior(
    regime: Regime,
    M: Float[np.ndarray, "d_x features"],
    Q: Float[np.ndarray, "d_y signed"],
    prompts: Mapping[str, np.ndarray],
) -> Float[np.ndarray, " B"]:
    """P(e = +1 | x_1..x_L, y_1..y_L, x_query) of each prompt, under the law of the regime.

    `prompts` has x (B, L, d_x), y (B, L, d_y) and x_query (B, d_x), all of one L, which need not be the regime's; M and Q are
    the dictionaries of section 8, and features of different concepts must be orthogonal. Time and memory are linear in B, L
    and K1. PolysemeError if a noise is absent (the posterior is then 0 or 1 up to ambiguity, which is no matter of density),
    or if a dictionary or a prompt does not fit.
    """
    _check(regime, M, Q, prompts)
    K1, prompt = regime.concepts.K1, regime.prompt
    words, labels = M[:, : 2 * K1], Q
    on_query = _evidence(prompts["x_query"], words, prompt.sigma_x)
    on_words = _evidence(prompts["x"], words, prompt.sigma_x) + _evidence(prompts["y"], labels, prompt.sigma_y)
    query, demonstrations = (_own(regime, seen) for seen in (on_query, on_words))
    with np.errstate(divide="ignore"):  # a concept of weight 0 has the logarithm of its chance at minus infinity
        log_pi = np.log(regime.concepts.probabilities)
    # log P(k, e, prompt), (B, K1, 2), and of that the sum over k.
    joint = log_pi[:, None] + query + _log_signs(regime)
    joint = joint + np.stack([_of_demonstrations(regime, demonstrations, j) for j in range(2)], axis=-1)
    of_label = logsumexp(joint, axis=-2)
    return expit(of_label[..., 0] - of_label[..., 1])


def bayes_error(posteriors: Float[np.ndarray, "*members B"]) -> Float[np.ndarray, "*members"]:
    """The mean of min(p, 1 - p) over the prompts, which are on the last axis: what the best decision on each gets wrong.

    The label of each prompt is averaged out (Rao and Blackwell): the mean over drawn prompts is unbiased for the Bayes error
    of the law, with a smaller variance than that of counted mistakes.
    """
    return np.asarray(np.minimum(posteriors, 1 - posteriors).mean(axis=-1))


def excess_error(
    posteriors: Float[np.ndarray, "*members B"], f: Float[np.ndarray, "*members B"]
) -> Float[np.ndarray, "*members"]:
    """The mean over prompts of P(e f <= 0 | prompt) - min(p, 1 - p), for the outputs f of a model on the same prompts.

    Never negative: |2 p - 1| where the decision differs from the best one, and 0 otherwise. An output of 0 is wrong for
    both labels, as in the 0-1 error of section 1.
    """
    wrong = np.where(f > 0, 1 - posteriors, np.where(f < 0, posteriors, 1.0))
    return np.asarray((wrong - np.minimum(posteriors, 1 - posteriors)).mean(axis=-1))


def _evidence(
    seen: Float[np.ndarray, "*prompts d"], features: Float[np.ndarray, "d signed"], sigma: float
) -> Float[np.ndarray, "*prompts K1 2"]:
    """The log-likelihood of each feature in a word or a label, relative to its absence; + first."""
    gain = (seen @ features - (features**2).sum(axis=0) / 2) / sigma**2
    return gain.reshape(*seen.shape[:-1], -1, 2)


def _log_signs(regime: Regime) -> Float[np.ndarray, " 2"]:
    """log P(+1), log P(-1); log1p because 1 - p_plus rounds to 1 when p_plus is tiny."""
    return np.array([np.log(regime.prompt.p_plus), np.log1p(-regime.prompt.p_plus)])


def _own(regime: Regime, evidence: Float[np.ndarray, "*prompts K1 2"]) -> Float[np.ndarray, "*prompts K1 2"]:
    """g_{k,s} - o_k: of a word whose own concept is k with sign s, whatever else it carries."""
    p_extra = regime.prompt.p_extra
    with np.errstate(divide="ignore"):  # chances of 0, whose logarithm is minus infinity
        absent, present = np.log1p(-p_extra), np.log(p_extra)
    there = present + np.logaddexp.reduce(evidence + _log_signs(regime), axis=-1)
    return evidence - np.logaddexp(absent, there)[..., None]


def _of_demonstrations(regime: Regime, own: Float[np.ndarray, "B L K1 2"], label: int) -> Float[np.ndarray, "B K1"]:
    """log P(demonstrations | k, e) up to a common factor, summed over signs; `label` 0 is e = +1, 1 is e = -1.

    Under `match` the sign sequences with a match are distinguished by their first one: those before it differ from the query,
    those after it are free. This is a sum of L positive terms; the difference of all sequences and those without a
    match would cancel.
    """
    signed = own + _log_signs(regime)
    free = np.logaddexp.reduce(signed, axis=-1)
    if regime.prompt.law == "iid":
        return free.sum(axis=1)
    match, miss = signed[..., label], signed[..., 1 - label]
    before = np.cumsum(miss, axis=1) - miss
    after = np.cumsum(free[:, ::-1], axis=1)[:, ::-1] - free
    log_some_match = np.log(-np.expm1(own.shape[1] * _log_signs(regime)[1 - label]))
    return logsumexp(before + match + after, axis=1) - log_some_match


def _check(regime: Regime, M: np.ndarray, Q: np.ndarray, prompts: Mapping[str, np.ndarray]) -> None:
    concepts, prompt = regime.concepts, regime.prompt
    for key in ("sigma_x", "sigma_y"):
        if getattr(prompt, key) < LEAST_NOISE:
            raise PolysemeError(
                f"the Bayes posterior is that of prompts with noise on words and on labels, got [prompt] {key} = "
                f"{getattr(prompt, key):g}, expected at least {LEAST_NOISE:g}; type for example {key} = 0.1"
            )
    B, L = prompts["x"].shape[:2]
    shapes = {
        "M": (M, (concepts.d_x, 2 * concepts.K1 + concepts.K2)),
        "Q": (Q, (concepts.d_y, 2 * concepts.K1)),
        "x": (prompts["x"], (B, L, concepts.d_x)),
        "y": (prompts["y"], (B, L, concepts.d_y)),
        "x_query": (prompts["x_query"], (B, concepts.d_x)),
    }
    for name, (array, expected) in shapes.items():
        if array.shape != expected or L == 0:
            raise PolysemeError(
                f"{name} does not fit the regime: got shape {array.shape}, expected {expected} with L of at least 1; "
                f"pass arrays of the sizes in [concepts]"
            )
    for name, features in (("M", M), ("Q", Q)):
        concept = np.minimum(np.arange(features.shape[1]) // 2, concepts.K1)  # K1 for every nu, which may overlap
        overlap = float(np.abs((features.T @ features)[concept[:, None] != concept]).max(initial=0.0))
        if overlap > _OVERLAP:
            raise PolysemeError(
                f"the sum over codes factorises only if features of different concepts are orthogonal, got an overlap of "
                f"{overlap:.2g} in {name}, expected at most {_OVERLAP:g}; pass dictionaries as `simulate` draws them"
            )
