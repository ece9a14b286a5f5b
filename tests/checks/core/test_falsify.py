"""The search for counterexamples, and the regimes it draws: what they satisfy, what is found, what is reported."""

import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from polyseme.checks.command_line import app
from polyseme.checks.core import falsify
from polyseme.checks.core.claim import Hypothesis, Verdict
from polyseme.checks.core.differences import changed
from polyseme.checks.core.evidence import Estimated, Evidence
from polyseme.checks.core.falsify import search
from polyseme.checks.core.outcome import trial
from polyseme.checks.core.rules.equivalence import Equivalence
from polyseme.checks.core.search_space import regimes
from polyseme.checks.multi_concept import controls
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.checks.multi_concept.context import TrainingContext
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime, load_regime, parse_regime

BY_ID = {claim.id: claim for claim in CLAIMS}
WHOLE = BY_ID["closure/population_descent_equals_level_b"]
FROM_THE_START = WHOLE.part("from the start")
LEVEL_B = dataclasses.replace(
    WHOLE,
    hypotheses=(*WHOLE.hypotheses, *FROM_THE_START.hypotheses),
    parts=(dataclasses.replace(FROM_THE_START, hypotheses=()),),
)
LEVEL_S = BY_ID["closure/mirrored_population_descent_equals_level_s"]
LEARNED = BY_ID["dynamics/every_concept_is_learned"]
SMOOTH = BY_ID["dynamics/end_of_training_is_smooth"]
LEVEL = 5e-5
ABOUT_A_REGIME = [claim for claim in CLAIMS if claim.scope == "this regime"]


def holding(claim, regime: Regime, drop=()) -> bool:
    return all(x.holds(regime) for x in claim.hypotheses if x.key not in drop and not x.arranged)


# -- regimes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ABOUT_A_REGIME, ids=lambda claim: claim.id)
def test_every_regime_that_is_drawn_satisfies_the_hypotheses(claim):
    seen = []

    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(regimes(claim, THEORY))
    def draw(regime):
        assert holding(claim, regime)
        seen.append(regime)

    draw()
    assert len(seen) >= 3


@pytest.mark.parametrize(
    ("claim", "key"),
    [(LEVEL_S, "mirrored"), (LEVEL_S, "fair"), (LEARNED, "wide"), (SMOOTH, "no_gates"), (LEVEL_B, "pure")],
)
def test_a_dropped_hypothesis_fails_and_the_others_hold(claim, key):
    (dropped,) = [x for x in claim.hypotheses if x.key == key]

    @settings(max_examples=10, suppress_health_check=list(HealthCheck))
    @given(regimes(claim, THEORY, drop={key}))
    def draw(regime):
        assert not dropped.holds(regime)
        assert holding(claim, regime, drop={key})

    draw()


def test_every_claim_has_hypotheses_with_keys_of_their_own():
    for claim in CLAIMS:
        keys = [x.key for x in claim.hypotheses]
        assert len(set(keys)) == len(keys)
    names: dict[str, set[str]] = {}
    for claim in CLAIMS:
        for x in claim.hypotheses:
            names.setdefault(x.key, set()).add(x.name)
    assert {key: len(texts) for key, texts in names.items() if len(texts) > 1} == {}


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(regimes(LEVEL_B, THEORY))
def test_the_changed_keys_make_the_regime_again(regime):
    assert parse_regime({name: dict(keys) for name, keys in changed(regime).items()}, source="") == regime


# -- what is found -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked_types")
def test_level_s_is_false_without_mirrored_neurons():
    found = search(LEVEL_S, THEORY, budget=30, level=LEVEL, drop={"mirrored"})
    regime, outcome = found.counterexample
    assert outcome.verdict == Verdict.REFUTED and regime.model.neurons == "independent"
    # Shrunk: one concept, one update, no more neurons than a pair.
    assert (regime.concepts.K1, regime.model.m, regime.training.steps) == (1, 2, 1)


def test_a_width_is_too_small_for_every_concept_to_be_learned():
    regime, _ = search(LEARNED, THEORY, budget=30, level=LEVEL, drop={"wide"}).counterexample
    assert regime.model.m < 40


def test_a_penalty_is_too_heavy_for_anything_to_be_learned():
    regime, _ = search(LEARNED, THEORY, budget=60, level=LEVEL, drop={"light_penalty"}).counterexample
    assert regime.training.lam * regime.model.m * regime.concepts.K1 > 0.02


@pytest.mark.usefixtures("unchecked_types")
def test_where_training_ends_gates_are_on_their_kinks():
    regime, outcome = search(SMOOTH, THEORY, budget=4, level=LEVEL, drop={"no_gates"}, shrink=False).counterexample
    assert regime.model.activation in {"relu", "leaky_relu"}
    assert "gates of living neurons on their kinks" in outcome.sentence


@pytest.mark.usefixtures("unchecked_types")
def test_nothing_is_found_against_level_b():
    found = search(LEVEL_B, THEORY, budget=12, level=LEVEL)
    assert found.counterexample is None, changed(found.counterexample[0])
    assert found.decided >= 6
    assert found.counts[Verdict.ERROR] == 0, found.troubles
    assert 0 < found.nearest[1].share < 1


def test_a_wrong_theory_is_broken():
    wrong = LEVEL_B.replace(asserts=controls.compiled(controls.flip_softmax_variance))
    assert search(wrong, THEORY, budget=30, level=LEVEL).counterexample


# -- a toy: sampling, and what is no counterexample ---------------------------------------------------------


def toy(measure, **changes):
    return LEVEL_B.replace(
        **{"id": "toy/claim", "hypotheses": (), "measure": measure, "asserts": lambda: None} | changes
    )


def test_a_chance_refutation_is_not_confirmed():
    def measure(context, _asserted):
        lucky = context.regime.ensemble.seed < falsify.FRESH  # far off in the search, fine with fresh draws
        row = Estimated(name="x", estimate=5.0 * lucky, standard_error=0.01, samples=50, scale=1.0)
        return Evidence(rows=(row,))

    found = search(toy(measure, rule=Equivalence(margin=0.1, reason="a test")), THEORY, budget=10, level=LEVEL)
    assert found.counterexample is None
    assert found.counts == {Verdict.SUPPORTED: len(found.outcomes)}


def test_keys_without_a_say_are_left_out_of_the_counterexample():
    def measure(context, _asserted):
        concepts, prompt = context.regime.concepts, context.regime.prompt
        off = concepts.kappa_x * (prompt.law == "iid")
        return Evidence(rows=(Estimated(name="x", estimate=off, standard_error=0.0, samples=9, scale=1.0),))

    found = search(toy(measure, rule=Equivalence(margin=0.3, reason="a test")), THEORY, budget=40, level=LEVEL)
    regime, outcome = found.counterexample
    sizes = {"concepts": {"K1": 1, "K2": 0, "d_x": 2, "d_y": 2}, "model": {"m": 1}, "training": {"steps": 0}}
    left = {section: dict(keys) for section, keys in changed(regime).items() if section != "ensemble"}
    assert left == {
        "concepts": sizes["concepts"] | {"kappa_x": 0.5},
        "prompt": {"L": 1, "law": "iid"},
        **{name: sizes[name] for name in ("model", "training")},
    }
    assert outcome.measured == trial(found.claim, TrainingContext(regime, level=LEVEL), drop=()).measured


def test_a_check_that_breaks_is_counted_and_is_no_counterexample():
    def measure(_context, _asserted):
        raise ZeroDivisionError("a bug")

    found = search(toy(measure), THEORY, budget=5, level=LEVEL)
    assert found.counterexample is None and found.decided == 0
    assert found.troubles[Verdict.ERROR][0] == "ZeroDivisionError: a bug"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"suggests": {"nothing": {"of_this_name": (1,)}}},
            r"suggests values of \[nothing\] of_this_name, .* type one of K1, ",
        ),
        (
            {"suggests": {"prompt": {"of_this_name": (1,)}}},
            r"suggests values of \[prompt\] of_this_name, .* type one of K1, ",
        ),
        ({"suggests": {"prompt": {"m": (1,)}}}, r"suggests values of \[prompt\] m, .* type \[model\] m$"),
        ({"suggests": {"prompt": {"L": 3}}}, "a hypothesis raised TypeError"),
        ({"holds": lambda regime: regime.nothing}, "a hypothesis raised AttributeError"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_a_hypothesis_that_cannot_be_searched_is_reported_in_one_sentence(changes, sentence):
    plain = {"key": "bad", "name": "bad", "holds": lambda _regime: True, "got": lambda _regime: ""}
    bad = Hypothesis(**(plain | changes))
    with pytest.raises(PolysemeError, match=sentence) as refusal:
        search(dataclasses.replace(LEVEL_B, hypotheses=(bad,)), THEORY, budget=3, level=1e-5)
    assert "\n" not in str(refusal.value)


def test_an_interrupted_search_returns_what_it_has():
    calls = []

    def measure(_context, _asserted):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return Evidence(rows=(Estimated(name="x", estimate=0.0, standard_error=0.0, samples=9, scale=1.0),))

    found = search(toy(measure, rule=Equivalence(margin=0.1, reason="a test")), THEORY, budget=50, level=LEVEL)
    assert found.interrupted and found.decided == 3


def test_outside_its_hypotheses_a_claim_is_not_tried():
    noisy = Regime().replace(prompt={"sigma_x": 0.1})
    assert trial(LEVEL_B, TrainingContext(noisy, level=LEVEL), drop=()).verdict == Verdict.NOT_APPLICABLE


# -- the command -------------------------------------------------------------------------------------------


def test_the_command_writes_a_regime_that_replays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["falsify", LEVEL_S.id, "--drop", "mirrored", "--budget", "10"])
    assert result.exit_code == 1
    path = Path("out/falsify/closure-mirrored_population_descent_equals_level_s.toml")
    assert path.read_text().startswith(f"# A counterexample to {LEVEL_S.id}, without mirrored:\n# ")
    tables = tomllib.loads(path.read_text())
    assert tables["model"] == {"m": 2}
    # It descends on the expected loss, and records as it likes, whatever these keys say.
    assert not {"batch", "record_every"} & set(tables["training"]) and "batch" not in result.stdout
    assert load_regime(path).model.m == 2
    (replay,) = [line for line in result.stdout.splitlines() if line.startswith("Replay: polyseme ")]
    assert "It will say: refuted: " in result.stdout
    again = CliRunner().invoke(app, replay.removeprefix("Replay: polyseme ").split())
    assert again.exit_code == 1 and "✗ refuted" in again.stdout


def test_the_command_that_finds_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["falsify", "closure/complement_decays_exactly", "--budget", "5"])
    assert result.exit_code == 0
    assert "No counterexample. Nearest: " in result.stdout
    assert list(tmp_path.rglob("*.toml")) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["closure/stochastic_recursion_equals_sdg"], "expected an id such as closure/stochastic_recursion_equals_sgd"),
        (
            [LEVEL_S.id, "--drop", "mirored"],
            "--drop 'mirored' is no hypothesis of what is tried; type one of pure, fair",
        ),
        ([LEVEL_S.id, "--budget", "0"], "got a budget of 0, expected a whole number of at least 1"),
        ([LEVEL_S.id, "--seed", "-1"], "got a seed of -1, expected"),
        (["algebra/mean_sign_is_tanh"], "looks at nothing of the regime"),
        ([LEVEL_S.id, "--out", "."], "polyseme: "),
    ],
)
def test_bad_input(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["falsify", *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
