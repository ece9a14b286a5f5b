"""The lemma corrected: the floor under iid signs that are + with probability p; see docs/own_claims.md."""

from error_floor_first import FIRST

from polyseme.theory.multi_concept.regime import Regime


def floor(regime: Regime) -> float:
    """min(p, 1 - p) (p^L + (1 - p)^L).

    The output depends on a prompt through ebar alone, and ebar = -1 both for a query of sign + without a match and for a
    query of sign - whose demonstrations all match. One of the two is wrong, at best the rarer one.
    """
    p, L = regime.prompt.p_plus, regime.prompt.L
    return min(p, 1 - p) * (p**L + (1 - p) ** L)


CORRECTED = FIRST.replace(
    id="mine/error_is_never_below_its_floor",
    statement="Along population descent of level B the 0-1 error is never below min(p, 1 - p) (p^L + (1 - p)^L), where a sign is + "
    "with probability p.",
    formula=r"\Pr(e f \le 0) \ge \min(p, 1-p)\,\bigl(p^L + (1-p)^L\bigr)",
    asserts=lambda: floor,
)

CLAIMS = (CORRECTED,)
