"""GRID.toml: what is read, what is refused with one sentence, and which points it makes."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyseme.checks.core.sweeps.axes import Range, Values, solve
from polyseme.checks.core.sweeps.design import Design, spread
from polyseme.checks.core.sweeps.grid import load_grid, size
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime

HEAD = '[sweep]\nclaims = ["dynamics/every_concept_is_learned"]\n'


def read(tmp_path, text):
    path = tmp_path / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return load_grid(path, THEORY, CLAIMS)


def points(tmp_path, text):
    return list(Design(read(tmp_path, text)))


def test_a_grid_has_every_combination_in_order(tmp_path):
    made = points(
        tmp_path,
        HEAD + "[model]\nm = {values = [2, 3]}\n[training]\nlam = {from = 1e-4, to = 1e-2, scale = 'log', count = 3}\n",
    )
    assert [(x.model.m, x.training.lam) for x in made] == [(m, lam) for m in (2, 3) for lam in (1e-4, 1e-3, 1e-2)]
    assert all(x.concepts == Regime().concepts for x in made)


def test_a_grid_may_name_its_theory(tmp_path):
    text = HEAD + "[model]\nm = {values = [2, 3]}\n"
    assert points(tmp_path, 'theory = "multi_concept"\n' + text) == points(tmp_path, text)


def test_keys_that_follow_others(tmp_path):
    text = "[concepts]\nK1 = {values = [1, 5]}\nK2 = 3\nd_x = {formula = '2 * K1 + K2'}\nd_y = {formula = 'max(d_x, 12) // 2 * 2'}\n"
    made = points(tmp_path, HEAD + text + "[training]\nschedule = 'constant'\neta = {formula = 'm / 4'}\n")
    assert [(x.concepts.d_x, x.concepts.d_y, x.training.eta) for x in made] == [(5, 12, 4.0), (13, 12, 4.0)]


def test_a_regime_file_gives_what_is_not_named(tmp_path):
    (tmp_path / "base.toml").write_text("[prompt]\nL = 3\n[model]\nm = 5\n", encoding="utf-8")
    text = HEAD + "regime = 'base.toml'\n[model]\nsigma_0 = {values = [0.1, 0.2]}\n"
    assert [(x.prompt.L, x.model.m, x.model.sigma_0) for x in points(tmp_path, text)] == [(3, 5, 0.1), (3, 5, 0.2)]


@pytest.mark.parametrize("design", ["random", "sobol", "halton", "latin"])
def test_other_designs_have_as_many_points_as_asked_for_within_their_ranges(tmp_path, design):
    text = (
        HEAD
        + f"design = '{design}'\npoints = 300\n[model]\nm = {{from = 1, to = 6}}\n[training]\nlam = {{from = 1e-4, to = 1e-1, scale = 'log'}}\n"
    )
    made = points(tmp_path, text)
    assert len(made) == 300
    widths, lam = np.array([x.model.m for x in made]), np.array([x.training.lam for x in made])
    assert set(widths) == {1, 2, 3, 4, 5, 6}
    # Each of six widths a sixth: five standard errors of a random design, and the others scatter less.
    assert (np.abs(np.bincount(widths)[1:] / 300 - 1 / 6) < 5 * math.sqrt(5 / 36 / 300)).all()
    assert lam.min() >= 1e-4
    assert lam.max() <= 1e-1
    assert abs((lam < 10**-2.5).mean() - 0.5) < 5 * math.sqrt(1 / 4 / 300)
    assert made == points(tmp_path, text)
    assert made != points(tmp_path, text.replace("points", "seed = 1\npoints"))


def test_low_discrepancy_is_lower_than_that_of_a_random_design(tmp_path):
    from scipy.stats import qmc

    def discrepancy(design):
        text = (
            HEAD
            + f"design = '{design}'\npoints = 256\n[model]\nsigma_0 = {{from = 0, to = 1}}\nsigma_1 = {{from = 0, to = 1}}\n"
        )
        return qmc.discrepancy([[x.model.sigma_0, x.model.sigma_1] for x in points(tmp_path, text)])

    assert 10 * discrepancy("sobol") < discrepancy("random")
    assert 10 * discrepancy("halton") < discrepancy("random")


WITHIN = "[model]\nm = {from = 1, to = 200}\n[training]\nlam = {from = 1e-6, to = 1.0, scale = 'log'}\n"


def test_inside_keeps_points_at_which_the_hypotheses_hold_and_drop_goes_across(tmp_path):
    (claim,) = (x for x in CLAIMS if x.id == "dynamics/every_concept_is_learned")
    made = points(tmp_path, HEAD + "inside = true\ndesign = 'sobol'\npoints = 40\n" + WITHIN)
    assert len(made) == 40
    assert all(x.holds(regime) for regime in made for x in claim.hypotheses)
    across = points(tmp_path, HEAD + "inside = true\ndrop = ['wide']\ndesign = 'sobol'\npoints = 40\n" + WITHIN)
    keys = [{x.key for x in claim.hypotheses if not x.holds(regime)} for regime in across]
    assert set(map(frozenset, keys)) == {frozenset(), frozenset({"wide"})}


def test_a_grid_whose_first_half_is_outside_is_no_empty_design(tmp_path):
    text = (
        HEAD
        + "inside = true\n[training]\nsteps = {values = [0, 1000]}\n[ensemble]\nseed = {from = 0, to = 10999, count = 11000}\n"
    )
    design = Design(read(tmp_path, text.replace("every_concept_is_learned", "concepts_learned_are_those_foreseen")))
    design._regime = lambda values: Kept(values)
    design._asked = [Asked()]
    assert sum(1 for _ in design) == 11000


class Asked:
    """A hypothesis that holds where there are updates."""

    def holds(self, regime):
        return regime.values[0] > 0


class Kept:
    """A point that costs nothing to make."""

    def __init__(self, values):
        self.values = values

    def digest(self):
        return f"{self.values[1]:08x}"


def test_regimes_that_come_up_twice_are_one_point(tmp_path):
    made = points(tmp_path, HEAD + "design = 'random'\npoints = 50\n[model]\nm = {values = [2, 3]}\n")
    assert [x.model.m for x in made] in ([2, 3], [3, 2])


REFUSED = {
    "[model]\nm = {values = [1]}": "got no table [sweep]",
    "[sweep]\n[model]\nm = {values = [1]}": "names no claims",
    "[sweep]\nclaims = []\n[model]\nm = {values = [1]}": "names no claims",
    "[sweep]\nclaims = 3\n[model]\nm = {values = [1]}": "claims = 3 is not accepted: expected a list",
    "[sweep]\nclaims = ['nothing/so']\n[model]\nm = {values = [1]}": "[sweep] claims 'nothing/so' matches no claim; type ",
    "[sweep]\nclaims = ['dynamics/concepts_learned_are_predicted']\n[model]\nm = {values = [1]}": "type dynamics/concepts_learned_are_those_foreseen",
    "[sweep]\nclaims = ['dynamics/share_of_concepts*']\n[model]\nm = {values = [1]}": "'dynamics/share_of_concepts*', which looks at nothing of the regime",
    HEAD + "colour = 3\n[model]\nm = {values = [1]}": "[sweep] has no key 'colour'; expected one of claims, drop",
    HEAD + "[concepts]\nK1 = 1\nweights = {values = [[[1], [2]], [[1], [2]]]}": "expected different values, each once",
    '[sweep]\nclaims = ["algebra/drawn_dictionary_has_the_stated_overlaps"]\ndrop = ["pure"]\n[model]\nm = {values = [1]}': "it has none; leave it out",
    HEAD
    + "drop = ['narrow']\n[model]\nm = {values = [1]}": "[sweep] drop 'narrow' is no hypothesis of what is tried; type one of pure",
    HEAD + "design = 'sobol'\n[model]\nm = {from = 1, to = 3}": "needs points; type",
    HEAD + "points = 3\n[model]\nm = {values = [1]}": "points = 3 is not for a grid",
    HEAD + "points = 0\ndesign = 'random'\n[model]\nm = {values = [1]}": "points = 0 is not accepted",
    HEAD
    + "points = 9\ndesign = 'latin'\ninside = true\n[model]\nm = {values = [1]}": "type design = 'sobol' with inside",
    HEAD: "the design is empty: no key varies",
    HEAD + "[model]\nm = 3": "the design is empty: no key varies",
    HEAD + "[model]\nm = {values = []}": "the design is empty: expected a list with a value or more",
    HEAD + "[model]\nm = {values = [1, 1]}": "expected different values, each once",
    HEAD + "[model]\nm = {from = 3, to = 1, count = 2}": "the design is empty: expected from < to",
    HEAD + "[model]\nm = {from = 1, to = 3}": "a grid has to know how many; type count",
    HEAD + "[model]\nm = {from = 1, to = 3, count = 0}": "is no axis: expected { values",
    HEAD + "[model]\nm = {from = 1, to = 3, steps = 3}": "is no axis: expected { values",
    HEAD + "[model]\nm = {from = 1, to = inf, count = 3}": "is no axis: expected { values",
    HEAD + "[model]\nsigma_0 = {from = 0, to = 3, count = 3, scale = 'log'}": "a logarithmic range starts above 0",
    HEAD + "design = 'random'\npoints = 3\n[model]\nm = {from = 1, to = 3, count = 3}": "count is for grids",
    HEAD
    + "[model]\nwidth = {values = [1]}": "[model] has no key 'width' (got width = {'values': [1]}); expected one of m, ",
    HEAD + "[model]\nL = {values = [1]}": "or 'L' below [prompt]",
    HEAD + "[modle]\nm = {values = [1]}": "unknown table [modle]; expected [sweep], [let] and [concepts]",
    HEAD + "model = 3": "[sweep] has no key 'model'",
    "model = 3\n" + HEAD: "[model] is 3: expected a table",
    HEAD + "[model]\nm = {values = [1, 2]}\nsigma_0 = {formula = 'm +'}": "is no arithmetic",
    HEAD
    + "[model]\nm = {values = [1, 2]}\nsigma_0 = {formula = 'width'}": "uses 'width', which is no key of a regime and no name in [let]",
    HEAD
    + "[model]\nm = {values = [1, 2]}\nsigma_0 = {formula = 'sigma_1'}\nsigma_1 = {formula = 'sigma_0'}": "go round in a circle",
    HEAD + "[let]\nm = {values = [1]}": "[let] has 'm', which is taken or no name",
    HEAD + "[let]\nsqrt = {values = [1]}": "[let] has 'sqrt', which is taken or no name",
    HEAD + "[let]\nratio = 3": "[let] ratio = 3: expected { values",
    "let = 3\n" + HEAD: "[let] is 3: expected a table of names",
    HEAD + "[model]\nm = {starts = 3}": "starts are for the seed alone",
    HEAD + "[ensemble]\nseed = {starts = 0}": "expected a whole number of at least 1; type seed = { starts",
    HEAD + "regime = 'none.toml'\n[model]\nm = {values = [1]}": "[sweep] regime = 'none.toml' is no file in ",
    HEAD + f"[model]\nm = {{formula = '{'-' * 2000}L'}}\n[prompt]\nL = {{values = [3]}}": "is no arithmetic",
    HEAD + "[training]\nlam = {values = [1, 1.0]}": "expected different values, each once",
    HEAD + "[ensemble]\nseed = {starts = 100000000}": "got a grid of 100000000 points, expected at most 1000000",
    HEAD + "[prompt]\nL = [3, 4]": "L = [3, 4] is a list; to go through its values type L = { values = [3, 4] }",
    HEAD + "[model]\nm = {from = 2.5, to = 5, count = 3}": "m takes whole numbers; type them",
    HEAD + "[let]\nratio = {values = [1]}\n[model]\nm = {values = [1]}": "[let] has 'ratio', which no formula uses",
    "[sweep": "expected TOML, got something else",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_wrong_with_a_file_is_reported_in_one_sentence(tmp_path, text):
    with pytest.raises(PolysemeError) as problem:
        read(tmp_path, text)
    assert REFUSED[text] in str(problem.value)
    assert "\n" not in str(problem.value)


IMPOSSIBLE = {
    "[model]\nm = {values = [1, 0]}": "[model] m = 0 is not accepted",
    "[model]\nm = {values = ['wide']}": '[model] m = "wide" is not accepted',
    "[concepts]\nK1 = {values = [2, 30]}": "type d_x = 62 or more (at K1 = 30); a key that has to follow another can be a formula",
    "[model]\nm = {formula = 'L / 3'}\n[prompt]\nL = {values = [3, 4]}": "[model] m = 1.33",
    "[model]\nm = {formula = '1 / (L - 3)'}\n[prompt]\nL = {values = [3, 4]}": "could not be computed at L = 3 (division by zero)",
    "[model]\nm = {formula = 'law + 1'}\n[prompt]\nL = {values = [3, 4]}": "could not be computed ('law' is not defined",
    "[model]\nm = {formula = 'open(1)'}\n[prompt]\nL = {values = [3, 4]}": "",
    "[model]\nm = {formula = '2 ** 100000'}\n[prompt]\nL = {values = [3, 4]}": "gives a whole number of more than 64 bits",
    "[training]\nlam = {formula = '10 ** 300 * 10.0 ** 300'}\n[prompt]\nL = {values = [3, 4]}": "gives inf, expected a number of at most 9e+18",
    "[training]\nlam = {formula = '(-L) ** 0.5'}\n[prompt]\nL = {values = [3, 4]}": "gives (1.0605752387249068e-16+1.7320508075688",
    "[ensemble]\nseed = {formula = 'L * 10 ** 40'}\n[prompt]\nL = {values = [3, 4]}": "gives a whole number of more than 64 bits, expected",
    "[model]\nm = {formula = '().__class__'}\n[prompt]\nL = {values = [3, 4]}": "could not be computed",
}


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_a_point_that_cannot_exist_is_reported_with_its_place(tmp_path, text):
    with pytest.raises(PolysemeError) as problem:
        points(tmp_path, HEAD + text)
    assert IMPOSSIBLE[text] in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_design_without_points_inside_is_not_searched_for_ever(tmp_path):
    text = "inside = true\ndesign = 'random'\npoints = 5\n[model]\nm = {from = 1, to = 5}\n"
    with pytest.raises(PolysemeError, match="the design is empty or next to it: 0 of"):
        points(tmp_path, HEAD + text)


@given(st.floats(0, 1, exclude_max=True), st.integers(-50, 50), st.integers(1, 60))
def test_whole_numbers_of_a_range_are_all_reached_and_never_left(share, first, more):
    axis = Range(key="m", whole=True, first=float(first), last=float(first + more), scale="linear", count=None)
    assert first <= axis.at(share) <= first + more
    assert [axis.at((j + 0.5) / (more + 1)) for j in range(more + 1)] == list(range(first, first + more + 1))


def test_a_listed_range_ends_where_it_says_and_rises():
    axis = Range(key="lam", whole=False, first=3e-5, last=0.7, scale="log", count=23)
    listed = axis.listed()
    assert (listed[0], listed[-1], len(listed)) == (3e-5, 0.7, 23)
    ratios = [b / a for a, b in pairwise(listed)]
    assert max(ratios) - min(ratios) < 1e-9
    assert Range(key="m", whole=True, first=1.0, last=64.0, scale="log", count=13).listed() == (
        1,
        2,
        3,
        4,
        6,
        8,
        11,
        16,
        23,
        32,
        45,
        64,
    )


def test_keys_are_unique_and_their_kinds_are_those_of_a_regime():
    keys = Regime.keys()
    assert len(keys) == sum(len(keys) for keys in Regime().model_dump().values())
    assert {key.name for key in keys.values() if key.is_whole} == {
        "K1", "K2", "d_x", "d_y", "L", "m", "steps", "batch", "record_every", "seeds", "seed",
    }  # fmt: skip


def test_lists_may_hold_words_and_lists(tmp_path):
    text = (
        "[concepts]\nweights = {values = [[0.5, 0.5], [0.9, 0.1]]}\n[training]\nbatch = {values = ['population', 4]}\n"
    )
    grid = read(tmp_path, HEAD + text)
    assert size(grid) == 4
    assert [(x.concepts.weights, x.training.batch) for x in Design(grid)] == [
        (weights, batch) for weights in ((0.5, 0.5), (0.9, 0.1)) for batch in ("population", 4)
    ]
    assert Values(key="m", values=(1, 2, 4)).at(0.999999999) == 4


def test_formulas_see_each_other_in_any_order():
    assert solve({"eta": "lam * 2", "lam": "m / 4"}, {"m": 2}, Regime.keys(), source="a test") == {
        "lam": 0.5,
        "eta": 1.0,
    }


def test_names_that_are_no_keys_are_for_formulas(tmp_path):
    text = "[let]\nratio = {values = [0.5, 2]}\n[training]\nlam = {formula = 'ratio / m'}\n[model]\nm = {values = [4, 8]}\n"
    made = points(tmp_path, HEAD + text)
    assert [(x.model.m, x.training.lam) for x in made] == [(4, 0.125), (8, 0.0625), (4, 0.5), (8, 0.25)]
    assert read(tmp_path, HEAD + text).varied == ("m", "lam")


def test_starts_have_seeds_of_their_own_that_stay_when_the_grid_grows(tmp_path):
    text = HEAD + "[model]\nm = {values = [4, 8]}\n[ensemble]\nseed = {starts = 3}\n"
    made = points(tmp_path, text)
    assert len({x.ensemble.seed for x in made}) == len(made) == 6
    more = points(tmp_path, text.replace("[4, 8]", "[2, 4, 8]").replace("3}", "5}"))
    assert {x.digest() for x in made} < {x.digest() for x in more}
    assert len({x.ensemble.seed for x in more}) == 15
    drawn = points(
        tmp_path,
        HEAD + "design = 'random'\npoints = 40\n[model]\nm = {from = 1, to = 9}\n[ensemble]\nseed = {starts = 1000}\n",
    )
    assert len({x.ensemble.seed for x in drawn}) == len(drawn) > 35


def test_the_seed_of_a_start_follows_from_the_regime_as_it_is_read(tmp_path):
    def seeds(zero, ensemble=""):
        text = f"[prompt]\nsigma_y = {{values = [{zero}]}}\n[ensemble]\nseed = {{starts = 2}}\n{ensemble}"
        return [x.ensemble.seed for x in points(tmp_path, HEAD + text)]

    assert seeds("0") == seeds("0.0")
    assert not set(seeds("0")) & set(seeds("0", "seeds = 2\n"))


def test_a_grid_is_gone_through_evenly_and_each_point_once():
    for count in (1, 2, 7, 100, 2000):
        assert sorted(spread(count)) == list(range(count))
    first = list(spread(2000))[:50]
    gaps = np.diff(sorted([*first, first[0] + 2000]))
    assert gaps.max() <= 3 * 2000 / 50  # three distances at most, of neighbouring convergents


def test_points_of_a_grid_are_made_from_their_numbers(tmp_path):
    text = HEAD + "[concepts]\nK1 = {values = [2, 3]}\nd_x = {formula = '2 * K1'}\nd_y = {formula = '2 * K1'}\nK2 = 0\n"
    text += "[model]\nm = {from = 2, to = 8, scale = 'log', count = 4}\n[ensemble]\nseed = {starts = 3}\n"
    design = Design(read(tmp_path, text))
    assert [design.at(number) for number, _ in design.numbered()] == list(design)
    assert len(list(design)) == 24
