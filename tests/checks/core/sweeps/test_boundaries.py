"""The lines of a map that are known beforehand: are they where the theory and the hypotheses put them?"""

import dataclasses

import numpy as np
import pytest
from sweep_tables import GRID, LAM, LEARNED, WIDTHS, a_record, every_verdict, over_grid, write_sweep

from polyseme.checks.core.sweeps.boundaries import Plane, asked, boundaries_of
from polyseme.checks.core.sweeps.boundaries import predicted as lines_of
from polyseme.checks.core.sweeps.mapped import VERDICT, chosen_keys, read_sweep, sheet_of
from polyseme.checks.multi_concept.boundaries import BOUNDARIES, EVERY_CONCEPT, PENALTY, SHARES, share_of_widths
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.theory.multi_concept.outcome.thresholds import critical_penalty, share_learnable
from polyseme.theory.multi_concept.regime import Regime

# Run-time types take ten times as long as what they look at here; the tests of the command check them.
pytestmark = pytest.mark.usefixtures("unchecked_types")
HYPOTHESES = next(claim.hypotheses for claim in CLAIMS if claim.id == LEARNED)


def plane(folder, x=None, y=None) -> Plane:
    swept = read_sweep(folder, Regime.keys())
    sheet = sheet_of(swept, LEARNED, *chosen_keys(swept, x, y), VERDICT)
    return Plane(swept, sheet.x, sheet.y, Regime)


@pytest.fixture(scope="module")
def of_grid(tmp_path_factory) -> Plane:
    """The width across, the penalty upwards, K1 = 2 of equal weight."""
    return plane(
        write_sweep(tmp_path_factory.mktemp("grid"), over_grid(m=WIDTHS, lam=LAM, seed=range(4)), every_verdict)
    )


def predicted(of: Plane, claim: str, show: str, hypotheses=(), drop=()) -> dict:
    """The theory's lines on a map of this claim."""
    return lines_of(of, boundaries_of(BOUNDARIES, claim, show), hypotheses, drop)


def written_down(regime: Regime, m: int) -> float:
    """lam_c of the regime with m neurons, half of them living, from polyseme.theory.multi_concept.outcome.thresholds alone."""
    at, weight = regime.concepts, min(regime.concepts.probabilities)
    one = {"live": 0.5, "weight": weight, "kappa_x": at.kappa_x, "kappa_y": at.kappa_y}
    arrays = {key: np.array([value]) for key, value in one.items()}
    return float(critical_penalty(L=regime.prompt.L, m=m, **arrays)[0])


def is_the_critical_penalty(line) -> bool:
    """Whether a line over (m, lam) passes through lam_c of each width."""
    (piece,) = line
    order = np.argsort(piece[:, 0])
    at = np.exp(np.interp(np.log(WIDTHS), np.log(piece[order, 0]), np.log(piece[order, 1])))
    return bool(np.allclose(at, [written_down(Regime(), m) for m in WIDTHS], rtol=1e-4))


def test_the_penalty_is_critical_along_its_line(of_grid):
    assert is_the_critical_penalty(predicted(of_grid, LEARNED, VERDICT)[PENALTY.label])


@pytest.mark.parametrize("factor", [2.0, 0.5, 1.001])
def test_a_planted_error_of_the_boundary_is_seen(of_grid, factor):
    wrong = dataclasses.replace(PENALTY, level=factor)
    assert not is_the_critical_penalty(lines_of(of_grid, (wrong,))[PENALTY.label])


def test_the_law_of_the_width_is_closed_between_even_widths():
    for m in range(2, 40, 2):
        assert share_of_widths(m) == pytest.approx(share_learnable(m), rel=1e-14)
    for m in range(3, 41, 2):
        assert share_learnable(m - 1) < share_of_widths(m) < share_learnable(m + 1)


def test_a_law_of_the_width_alone_is_a_straight_line(of_grid):
    (piece,) = predicted(of_grid, LEARNED, VERDICT)[EVERY_CONCEPT.label]
    # (1 - 2^-(m/2))^4 = 1/2 for two concepts
    np.testing.assert_allclose(piece[:, 0], -2 * np.log2(1 - 0.5**0.25), rtol=1e-5)
    assert piece[:, 1].min() == pytest.approx(of_grid.y.first) and piece[:, 1].max() == pytest.approx(of_grid.y.last)


def test_the_share_learned_has_its_own_levels(of_grid):
    found = predicted(of_grid, LEARNED, "share learned")
    assert list(found) == [PENALTY.label, *(each.label for each in SHARES)]
    for each in SHARES:
        (piece,) = found[each.label]
        np.testing.assert_allclose(piece[:, 0], -2 * np.log2(1 - each.level**0.5), rtol=1e-5)


def test_other_claims_have_no_boundary(of_grid):
    assert predicted(of_grid, "closure/population_descent_equals_level_b", VERDICT) == {}


def test_what_was_dropped_is_drawn_where_it_ends(of_grid):
    found = asked(of_grid, HYPOTHESES, ("wide", "light_penalty", "pure"))
    assert list(found) == ["wide", "light_penalty"], "pure prompts are pure everywhere on this map"
    (wide,), (light,) = found["wide"].line, found["light_penalty"].line
    # 4 K1 2^-(m/2) <= 1e-6 from m = 46 on, and lam m K1 <= 0.02
    np.testing.assert_allclose(wide[:, 0], 46, rtol=1e-5)
    np.testing.assert_allclose(light[:, 0] * light[:, 1] * 2, 0.02, rtol=1e-5)
    assert found["wide"].towards == (1, 0) and found["light_penalty"].towards == (-1, -1)
    assert asked(of_grid, HYPOTHESES, ()) == {}


def one(regime: Regime) -> list:
    del regime
    return [a_record(LEARNED, "supported")]


def test_a_boundary_outside_the_map_is_left_out(tmp_path):
    text = GRID.replace("from = 1e-4, to = 1e-2", "from = 1e-6, to = 1e-5").replace("[2, 4, 8, 16, 32, 64]", "[16, 32]")
    points = over_grid(m=(16, 32), lam=(1e-6, 1e-5), seed=(0,))
    of = plane(write_sweep(tmp_path, points, one, text=text))
    assert predicted(of, LEARNED, VERDICT) == {} and asked(of, HYPOTHESES, ("wide", "light_penalty")) == {}


CONCEPTS = """
[sweep]
claims = ["dynamics/every_concept_is_learned"]
[concepts]
K1 = { values = [1, 2, 3, 4] }
K2 = 0
d_x = { formula = "2 * K1" }
d_y = { formula = "2 * K1" }
[prompt]
L = { values = [2, 3, 4, 5, 6] }
[training]
lam = LAM
"""


def over_concepts(**more) -> list[dict]:
    return [
        {"K1": K1, "K2": 0, "d_x": 2 * K1, "d_y": 2 * K1, "L": L} | more for K1 in (1, 2, 3, 4) for L in (2, 3, 4, 5, 6)
    ]


def test_between_whole_numbers_of_concepts_and_demonstrations_lines_go_on(tmp_path):
    at = written_down(Regime().replace(concepts={"K1": 2}, prompt={"L": 4}), 16)
    of = plane(write_sweep(tmp_path, over_concepts(lam=at), one, text=CONCEPTS.replace("LAM", str(at))))
    (piece,) = predicted(of, LEARNED, VERDICT)[PENALTY.label]
    near = piece[np.abs(piece - [2, 4]).max(axis=1).argmin()]
    np.testing.assert_allclose(near, [2, 4], atol=0.1)
    assert len(piece) > 40
    # On whole numbers of demonstrations K1 is where lam_c is lam: lam_c is proportional to 1/K1.
    for L in (3, 4, 5):
        K1 = written_down(Regime().replace(concepts={"K1": 1}, prompt={"L": L}), 16) / at
        if 1 < K1 < 4:
            order = np.argsort(piece[:, 1])
            assert np.interp(L, piece[order, 1], piece[order, 0]) == pytest.approx(K1, rel=0.01)


def test_formulas_hold_along_lines_too(tmp_path):
    """With lam = 0.01 / (m K1) the penalty is light everywhere, and as heavy over K1 as over m."""
    text = CONCEPTS.replace("LAM", '{ formula = "0.03 / (m * K1)" }').replace(
        "[prompt]\nL = { values = [2, 3, 4, 5, 6] }", ""
    )
    text += "[model]\nm = { values = [2, 4, 8, 16, 32, 64] }\n"
    points = [
        {"K1": K1, "K2": 0, "d_x": 2 * K1, "d_y": 2 * K1, "m": m, "lam": 0.03 / m / K1}
        for K1 in (1, 2, 3, 4)
        for m in WIDTHS
    ]
    of = plane(write_sweep(tmp_path, points, one, text=text))
    assert asked(of, HYPOTHESES, ("light_penalty",)) == {}
    (piece,) = predicted(of, LEARNED, VERDICT)[PENALTY.label]
    # lam_c = c / (K1 sqrt m) = 0.03 / (m K1) at one width for every K1
    np.testing.assert_allclose(
        piece[:, 1], (0.03 / written_down(Regime().replace(concepts={"K1": 1}), 1)) ** 2, rtol=1e-4
    )


def test_names_that_formulas_use_stand_in_their_middle(tmp_path):
    """With lam = ratio / 100 m and a ratio from 1/3 to 3 the map over m and K1 is that of lam = 0.01 / m."""
    text = CONCEPTS.replace("LAM", '{ formula = "0.01 * ratio / m" }').replace(
        "[prompt]\nL = { values = [2, 3, 4, 5, 6] }", "[model]\nm = { values = [2, 4, 8, 16, 32, 64] }"
    )
    text = "[let]\nratio = { values = [0.3, 1.0, 3.0] }\n" + text
    points = [
        {"K1": K1, "K2": 0, "d_x": 2 * K1, "d_y": 2 * K1, "m": m, "lam": 0.01 * ratio / m}
        for K1 in (1, 2, 3, 4)
        for m in WIDTHS
        for ratio in (0.3, 1.0, 3.0)
    ]
    swept = write_sweep(tmp_path, points, one, text=text)
    of = plane(swept, "K1", "m")
    assert of.settled == {"ratio": 1.0}
    (piece,) = asked(of, HYPOTHESES, ("light_penalty",))["light_penalty"].line
    np.testing.assert_allclose(piece[:, 0], 2, rtol=1e-4)  # lam m K1 = 0.02
    # The key that follows the name is a direction of its own, beside the first that varies.
    assert chosen_keys(read_sweep(swept, Regime.keys()), "m", None) == ("m", "K1") and plane(
        swept, "m", "lam"
    ).settled == {"K1": 2}


@pytest.mark.parametrize(
    "keys", [{"law": "iid"}, {"loss": "squared"}, {"activation": "identity"}, {"p_plus": 0.6}, {"neurons": "mirrored"}]
)
def test_nothing_is_predicted_for_another_plateau(tmp_path, keys):
    of = plane(write_sweep(tmp_path, [point | keys for point in over_grid(m=WIDTHS, lam=LAM, seed=(0,))], one))
    found = predicted(of, LEARNED, VERDICT)
    assert list(found) == ([PENALTY.label] if "neurons" in keys else [])


def test_other_keys_stand_in_the_middle(tmp_path):
    text = GRID.replace("[model]", "[concepts]\nkappa_x = { values = [0.0, 0.1, 0.7] }\n[model]")
    points = over_grid(m=(2, 64), lam=LAM, kappa_x=(0.0, 0.1, 0.7), seed=(0, 1))
    of = plane(write_sweep(tmp_path, points, one, text=text), "m", "lam")
    assert of.settled == {"kappa_x": 0.1, "seed": 0}
    (piece,) = predicted(of, LEARNED, VERDICT)[PENALTY.label]
    expected = written_down(Regime().replace(concepts={"kappa_x": 0.1}), 1)
    np.testing.assert_allclose(piece[:, 1] * piece[:, 0] ** 0.5, expected, rtol=1e-4)


def test_a_predicate_that_takes_no_fractions_is_asked_of_whole_numbers(of_grid):
    def holds(regime: Regime) -> bool:
        return len([0] * regime.model.m) > 10

    (piece,) = of_grid.where_claimed(holds)
    np.testing.assert_allclose(piece[:, 0], 10.5, rtol=1e-5)
    with pytest.raises(TypeError):
        of_grid.where_changes(holds)


def test_a_predicate_that_breaks_beyond_the_last_value_is_asked_of_that(of_grid):
    def holds(regime: Regime) -> bool:
        if regime.model.m > 64:
            raise ValueError("too wide to exist")
        return regime.model.m > 32

    (piece,) = of_grid.where_claimed(holds)
    np.testing.assert_allclose(piece[:, 0], 32, rtol=1e-5)
    with pytest.raises(ZeroDivisionError):  # nothing is hidden
        of_grid.where_claimed(lambda regime: regime.model.m / 0 > 1)


FATES = "dynamics/concepts_learned_are_those_foreseen"
OF_FATES = next(claim.hypotheses for claim in CLAIMS if claim.id == FATES)


def of_fates(folder, x: str, text: str, points: list[dict]) -> Plane:
    swept = read_sweep(
        write_sweep(folder, points, lambda _: [a_record(FATES, "supported", 0.0, 0.0)], text=text), Regime.keys()
    )
    sheet = sheet_of(swept, FATES, *chosen_keys(swept, x, None), VERDICT)
    return Plane(swept, sheet.x, sheet.y, Regime)


def test_nothing_is_predicted_where_nothing_is_judged(tmp_path):
    """The claim asks 3 <= L <= 5: over L from 2 to 11 the line of lam_c stands in the cells of 3, 4 and 5 alone."""
    (few,) = [x for x in OF_FATES if x.key == "three_to_five_demonstrations"]
    text = """
[sweep]
claims = ["dynamics/concepts_learned_are_those_foreseen"]
drop = ["off_threshold"]
[prompt]
L = { values = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }
[training]
lam = { from = 1e-4, to = 1e-1, scale = "log", count = 7 }
"""
    lam = [float(x) for x in np.geomspace(1e-4, 1e-1, 7)]
    of = of_fates(tmp_path, "L", text, over_grid(L=range(2, 12), lam=lam))
    drop = [x.key for x in OF_FATES if x is not few]
    bare = np.concatenate(predicted(of, FATES, VERDICT)[PENALTY.label])
    kept = np.concatenate(predicted(of, FATES, VERDICT, OF_FATES, drop)[PENALTY.label])
    assert (bare[:, 0].min(), bare[:, 0].max()) == pytest.approx((of.x.first, of.x.last))
    left, right = of.x.edges()[[1, 4]]
    assert left <= kept[:, 0].min() < 3 and 5 < kept[:, 0].max() <= right
    # Where no regime is judged there is no line at all.
    never = dataclasses.replace(few, holds=lambda regime: regime.prompt.L > 11)
    assert predicted(of, FATES, VERDICT, (never,), ()) == {}
    assert predicted(of, FATES, VERDICT, (never,), (never.key,)).keys() == predicted(of, FATES, VERDICT).keys()


def test_of_a_band_it_is_known_that_the_hypothesis_holds_outside(of_grid):
    (off,) = [x for x in OF_FATES if x.key == "off_threshold"]
    assert asked(of_grid, OF_FATES, ("off_threshold",))["off_threshold"].where == "outside"
    near = dataclasses.replace(off, holds=lambda regime: not off.holds(regime))
    assert asked(of_grid, (near,), ("off_threshold",))["off_threshold"].where == "between"
    assert {edge.where for edge in asked(of_grid, HYPOTHESES, ("wide", "light_penalty")).values()} == {"beside"}
