"""Claims that cost nothing, and some that go wrong at certain points: what sweeps are tried with."""

import os
import time

import numpy as np
import sympy as sp

from polyseme.checks.core.claim import Claim, Hypothesis, NegativeControl, Part
from polyseme.checks.core.evidence import Estimated, Evidence, Exact
from polyseme.checks.core.provenance import ROUND_OFF
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.rules.exact import ExactZero
from polyseme.checks.multi_concept.hypotheses import PURE
from polyseme.errors import PolysemeError

NARROW = Hypothesis(
    key="narrow",
    name="m <= 20",
    holds=lambda regime: regime.model.m <= 20,
    got=lambda regime: f"m = {regime.model.m}",
    suggests={"model": {"m": (1, 2, 4)}},
)


def _claim(name, measure, **changes):
    hypotheses = changes.pop("hypotheses", ())
    wrong = NegativeControl(name="one more", statement="K1 is K1 + 1", asserts=lambda: 1)
    part = {"rule": ExactZero(reason="whole numbers"), "controls": (wrong,)} | changes
    return Claim(
        id=f"cheap/{name}",
        statement="K1 is K1",
        formula="K_1 = K_1",
        section="1",
        hypotheses=hypotheses,
        parts=(Part(asserts=lambda: 0, measure=measure, **part),),
        rests_on=(ROUND_OFF,),
    )


def _residual(asserted, **facts):
    return Evidence(rows=(Exact(name="difference", residual=sp.Integer(asserted)),), facts=facts)


def _quick(context, asserted):
    time.sleep(float(os.environ.get("CHEAP_SECONDS", "0")))
    return _residual(asserted, m=context.regime.model.m, wide=context.regime.model.m > 10, rows=[1, 2])


def _told(context, asserted):
    import torch

    return _residual(asserted, level=context.level, effort=context.effort, threads=torch.get_num_threads())


def _swallows_at_3(context, asserted):
    try:
        while context.regime.model.m == 3:
            time.sleep(0.01)
    except BaseException:
        asserted += 1
    return _residual(asserted)


def _odd(context, asserted):
    return _residual(asserted + (context.regime.model.m % 2 == 0))


def _breaks_at_13(context, asserted):
    if context.regime.model.m == 13:
        raise ZeroDivisionError("thirteen")
    return _residual(asserted)


def _dies_at_7(context, asserted):
    if context.regime.model.m == 7:
        os._exit(3)
    return _residual(asserted)


def _lacks_at_5(context, asserted):
    if context.regime.model.m == 5:
        raise PolysemeError("five is not to be had")
    return _residual(asserted)


def _hangs_at_3(context, asserted):
    while context.regime.model.m == 3:
        time.sleep(0.01)
    return _residual(asserted)


WITHIN = Equivalence(margin=0.5, reason="a test")


def _noisy(context, asserted):
    rng = np.random.default_rng(context.regime.ensemble.seed)
    # Half a margin from its bound at m = 2: even shares leave it open.
    truth = 0.46 if context.regime.model.m == 2 else 0.0
    count = _plan(context).samples
    values = truth + asserted + rng.normal(size=count)
    row = Estimated(
        name="mean",
        estimate=float(values.mean()),
        standard_error=float(values.std(ddof=1) / count**0.5),
        samples=count,
        scale=1.0,
    )
    return Evidence(rows=(row,))


def _plan(context):
    return WITHIN.design(spread=1.0, rows=1, level=context.level)


CLAIMS = (
    _claim("quick", _quick, hypotheses=(NARROW, PURE)),
    _claim("odd_widths_alone", _odd),
    _claim("breaks_at_13", _breaks_at_13),
    _claim("dies_at_7", _dies_at_7),
    _claim("lacks_at_5", _lacks_at_5),
    _claim("hangs_at_3", _hangs_at_3),
    _claim("told", _told, hypotheses=(NARROW,)),
    _claim("swallows_at_3", _swallows_at_3),
    _claim(
        "noisy",
        _noisy,
        rule=WITHIN,
        plan=_plan,
        controls=(NegativeControl(name="two", statement="two", asserts=lambda: 2),),
    ),
)
