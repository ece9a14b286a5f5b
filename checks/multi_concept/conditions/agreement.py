"""What sweeps say of the closed forms: points that came out as predicted, and the share of concepts learned over the width."""

from collections import defaultdict

import numpy as np
from scipy.stats import binomtest

from polyseme.checks.core.claim import Verdict
from polyseme.checks.multi_concept.claims.dynamics.predicted import ABOVE, BELOW, PredictedFacts
from polyseme.checks.multi_concept.conditions.brackets import Place, bounds
from polyseme.checks.multi_concept.conditions.conditions import Agreement, Map, Share, Shares
from polyseme.checks.multi_concept.conditions.scans import (
    FOLLOWING,
    Row,
    Table,
    concepts_learned,
    concepts_occurring,
    require_trials,
)
from polyseme.theory.multi_concept.outcome.thresholds import critical_penalty, share_learnable


def agreement_of(table: Table) -> Agreement:
    """Of a sweep of the claim about which concepts are learned."""
    found: list[tuple[bool, PredictedFacts]] = [
        (row["verdict"] == Verdict.SUPPORTED, row["facts"]) for row in table.rows
    ]
    near = [agrees for agrees, of in found if BELOW < of.lam_over_typical_lam_c < ABOVE]
    off = [max(of.lam_over_typical_lam_c, 1 / of.lam_over_typical_lam_c) for agrees, of in found if not agrees]
    return Agreement(
        sweep=str(table.source["sweep"]),
        points=len(table.rows),
        agreeing=sum(agrees for agrees, _ in found),
        near=len(near),
        near_agreeing=sum(near),
        more=sum(of.learned_though_not_predicted for _, of in found),
        fewer=sum(of.predicted_and_not_learned for _, of in found),
        concepts=sum(concepts_learned(row)[1] for row in table.rows),
        largest=max(off, default=None),
    )


def shares_of(table: Table) -> Shares | None:
    """Concepts of one start are independent, too: their coefficients at the start are Gaussian and uncorrelated.

    None if points with the same m share seeds: concepts of several starts are no independent trials then.
    """
    counts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    lost: dict[int, int] = defaultdict(int)
    for row in table.rows:
        counts[row["m"]].append(concepts_learned(row))
    for row in table.lost:
        lost[row["m"]] += concepts_occurring(row)
    every = [(row["m"], row["seed"]) for row in (*table.rows, *table.lost)]
    if len(set(every)) < len(every):
        return None
    places = [
        Place(x=float(m), hits=sum(hits for hits, _ in found), trials=sum(trials for _, trials in found), lost=lost[m])
        for m, found in sorted(counts.items())
    ]
    shares = [
        Share(m=int(place.x), learned=place.hits, concepts=place.trials, bounds=ends, law=share_learnable(int(place.x)))
        # Both ends of each, so half of what may fail for either.
        for place, ends in zip(places, bounds(places, family=2 * len(places)), strict=True)
    ]
    return Shares(
        places=tuple(shares),
        inside=all(one.bounds[0] <= one.law <= one.bounds[1] for one in shares),
        p=min(1.0, len(shares) * min(_surprise(place) for place in places)),
    )


def _surprise(place: Place) -> float:
    """The two-sided p-value of the law at a width, the largest that the lost concepts could have led to."""
    trials, law = place.trials + place.lost, share_learnable(int(place.x))
    return max(float(binomtest(place.hits + more, trials, law).pvalue) for more in range(place.lost + 1))


def critical(row: Row) -> float:
    """lam_c of even concepts, half of the neurons living."""
    one = np.ones(1)
    return float(
        critical_penalty(
            L=row["L"],
            m=row["m"],
            live=one / 2,
            weight=one / row["K1"],
            kappa_x=row["kappa_x"] * one,
            kappa_y=row["kappa_y"] * one,
        )[0]
    )


def map_of(table: Table) -> Map:
    """Of a sweep over width and penalty in which nothing else that matters varies."""
    cells: dict[tuple[int, float], list[Row]] = defaultdict(list)
    for row in table.rows:
        cells[row["m"], row["lam"]].append(row)
    for rows in cells.values():
        require_trials(rows, table, of=FOLLOWING)
    widths = tuple(sorted({m for m, _ in cells}))
    penalties = tuple(sorted({lam for _, lam in cells}))

    def share(m: int, lam: float) -> float:
        found = [concepts_learned(row) for row in cells[m, lam]]
        return sum(hits for hits, _ in found) / sum(trials for _, trials in found) if found else float("nan")

    first = {row["m"]: row for row in table.rows}
    one = table.rows[0]
    return Map(
        K1=one["K1"],
        L=one["L"],
        m=widths,
        lam=penalties,
        learned=tuple(tuple(share(m, lam) for lam in penalties) for m in widths),
        starts=min(len(rows) for rows in cells.values()),
        critical=tuple(critical(first[m]) for m in widths),
    )
