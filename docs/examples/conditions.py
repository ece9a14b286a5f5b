"""How much of a hypothesis is needed? Between which values of a quantity every concept is learned, from the table of a sweep.

Usage: python docs/examples/conditions.py out/sweeps/width m
       python docs/examples/conditions.py out/sweeps/penalty lam --as 'lam * m * K1' --falls
       python docs/examples/conditions.py out/sweeps/noise sigma_x,sigma_y --falls

Points that differ in the scanned keys, in the seed and in what follows them alone are one scan; `--as` is a formula in columns of the table in which its
places are given (the largest of the keys, if absent). At each place successes among starts are counted: the fact `all_learned` of the claim, or its verdict. A start whose outcome was lost counts as whatever shows
less. Bounds are Clopper and Pearson's, one-sided, simultaneous over all places of all scans at 95% (Bonferroni); the threshold of a level lies between
the last place that was shown to lie before it and the first beyond, if success is monotone. An end that the starts do not show is open.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from polyseme.theory.multi_concept.regime import Regime

TABLE = "results.parquet"
KEYS = tuple(Regime.keys())
FOLLOWING = {
    "seed",
    "seeds",
    "eta",
    "gamma",
    "steps",
    "record_every",
    "device",
    "engine",
    "sampler",
    "dtype",
    "weights",
}
DECIDED, LOST = ("supported", "refuted"), ("error", "missing", "inconclusive")
LEVELS = {"half of all starts": 0.5, "three of four": 0.75}


def read(folder: Path, keys: list[str], formula: str | None) -> pd.DataFrame:
    """The points of a sweep with their place x (twelve digits: a formula may give the same number in two ways) and outcome."""
    table = pd.read_parquet(folder / TABLE)
    table = table[table["verdict"].isin(DECIDED + LOST)].reset_index(drop=True)
    decided, supported = table["verdict"].isin(DECIDED), table["verdict"] == "supported"
    facts = table["facts"].map(lambda text: json.loads(text) or {})
    learned = [bool(fact.get("all_learned", own)) for fact, own in zip(facts, supported, strict=True)]
    x = table.eval(formula, engine="python") if formula else table[keys].max(axis=1)
    return table.assign(x=[float(f"{value:.12g}") for value in x], hits=decided & pd.Series(learned), lost=~decided)


def brackets(table: pd.DataFrame, scanned: list[str], *, falls: bool) -> pd.DataFrame:
    """A row for each scan: the ends of the bracket of each level, as text; SystemExit if starts at a place are no trials."""
    fixed = [key for key in KEYS if key not in FOLLOWING and key not in scanned and table[key].nunique() > 1]
    groups = table.groupby([*fixed, "x"])
    if (groups["seed"].nunique() < groups.size()).any():
        raise SystemExit("some place has a seed twice: its starts are no independent trials")
    places = groups.agg(hits=("hits", "sum"), lost=("lost", "sum"), starts=("x", "size")).reset_index()
    alpha = 2 * 0.05 / len(places)  # each end of a two-sided interval fails with half of it
    places["lower"] = proportion_confint(places["hits"], places["starts"], alpha=alpha, method="beta")[0]
    places["upper"] = proportion_confint(places["hits"] + places["lost"], places["starts"], alpha=alpha, method="beta")[
        1
    ]
    scans = places.groupby(fixed) if fixed else [((), places)]
    rows: list[dict[str, object]] = []
    for values, scan in scans:
        row: dict[str, object] = dict(zip(fixed, values, strict=True))
        for name, level in LEVELS.items():
            under, over = scan["x"][scan["upper"] < level], scan["x"][scan["lower"] > level]
            before, beyond = (over, under) if falls else (under, over)
            low = f"{before.max():.3g}" if len(before) else "open"
            high = f"{beyond.min():.3g}" if len(beyond) else "open"
            contradicted = len(before) and len(beyond) and before.max() >= beyond.min()
            row[name] = "not monotone" if contradicted else f"{low} to {high}"
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder that polyseme sweep has written")
    parser.add_argument("keys", help="the scanned key or keys, such as m or sigma_x,sigma_y")
    parser.add_argument("--as", dest="formula", help="a formula in columns of the table, such as 'lam * m * K1'")
    parser.add_argument("--falls", action="store_true", help="success falls with the quantity")
    given = parser.parse_args()
    keys = given.keys.split(",")
    print(f"Threshold in {given.formula or given.keys}; all brackets of one level hold together at 95%:")
    print(brackets(read(given.folder, keys, given.formula), keys, falls=given.falls).to_string(index=False))


if __name__ == "__main__":
    main()
