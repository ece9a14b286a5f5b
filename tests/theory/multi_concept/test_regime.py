"""The regime file: every wrong value is answered with one sentence that names the key (section 8)."""

import math
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyseme.errors import RegimeError
from polyseme.theory.multi_concept.regime import Regime, load_regime, parse_regime

FEW = settings(max_examples=20, deadline=None)
NAN_OR_INF = st.sampled_from([math.nan, math.inf, -math.inf])
NOT_A_NUMBER = st.sampled_from(["one", "", True, None, [1], {"a": 1}])
BELOW = {
    0: st.floats(max_value=-1e-9, allow_nan=False, allow_infinity=False),
    1: st.floats(min_value=1.0 + 1e-9, allow_nan=False, allow_infinity=False),
}
WORDS = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=8)


def whole(least):
    return NOT_A_NUMBER | st.floats(allow_nan=False) | st.integers(max_value=least - 1)


def real(outside):
    return NOT_A_NUMBER | NAN_OR_INF | outside


def word(*accepted):
    return WORDS.filter(lambda x: x not in accepted) | st.integers() | st.sampled_from([None, True, 1.5, []])


OVERLAP = real(BELOW[0] | st.floats(min_value=1.0, allow_nan=False))
ANY_NEGATIVE = real(BELOW[0])
NOT_POSITIVE = real(st.floats(max_value=0.0, allow_nan=False))
WRONG = {
    ("concepts", "K1"): whole(1),
    ("concepts", "K2"): whole(0),
    ("concepts", "d_x"): whole(2),
    ("concepts", "d_y"): whole(2),
    ("concepts", "kappa_x"): OVERLAP,
    ("concepts", "kappa_y"): OVERLAP,
    ("concepts", "weights"): st.sampled_from(
        ["half", 1, 0.5, True, {}, [0.5], [0.5, 0.5, 0.0], [0.5, 0.4], [1.5, -0.5], [math.nan, 1.0], ["0.5", 0.5], []]
    ),
    ("prompt", "L"): whole(1),
    ("prompt", "law"): word("match", "iid"),
    ("prompt", "p_plus"): real(st.floats(max_value=0.0, allow_nan=False) | st.floats(min_value=1.0, allow_nan=False)),
    ("prompt", "p_extra"): real(BELOW[0] | BELOW[1]),
    ("prompt", "sigma_x"): ANY_NEGATIVE,
    ("prompt", "sigma_y"): ANY_NEGATIVE,
    ("model", "m"): whole(1),
    ("model", "activation"): word("relu", "leaky_relu", "identity"),
    ("model", "neurons"): word("independent", "mirrored"),
    ("model", "sigma_0"): ANY_NEGATIVE,
    ("model", "sigma_1"): ANY_NEGATIVE,
    ("training", "steps"): whole(0),
    ("training", "batch"): whole(1).filter(lambda x: x != "population"),
    ("training", "loss"): word("logistic", "squared", "exponential"),
    ("training", "lam"): ANY_NEGATIVE,
    ("training", "schedule"): word("inverse", "constant"),
    ("training", "gamma"): NOT_POSITIVE,
    ("training", "eta"): NOT_POSITIVE,
    ("training", "record_every"): whole(1).filter(lambda x: x != "log"),
    ("ensemble", "seeds"): whole(1),
    ("ensemble", "seed"): whole(0),
    ("ensemble", "dtype"): word("float64", "float32"),
    ("ensemble", "device"): word("auto", "cpu", "cuda"),
    ("ensemble", "sampler"): word("literal", "reduced"),
    ("ensemble", "engine"): word("auto", "autograd", "analytic", "compiled"),
}
KEYS = [(section, key) for section, table in Regime().model_dump().items() for key in table]


def refusal(tables):
    with pytest.raises(RegimeError) as refused:
        parse_regime(tables, source="some.toml")
    message = str(refused.value)
    assert message.startswith("some.toml: ")
    assert "\n" not in message
    assert not message.endswith(".")
    return message


def test_the_table_of_wrong_values_has_every_key():
    assert set(WRONG) == set(KEYS)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_wrong_value_is_answered_with_key_value_and_what_is_accepted(section, key):
    accepts = type(getattr(Regime(), section)).model_fields[key].json_schema_extra["accepts"]

    @FEW
    @given(WRONG[section, key])
    def answered(value):
        message = refusal({section: {key: value}})
        assert f"[{section}] {key} = " in message
        said, expected = message.split("expected ", 1)
        assert expected == accepts or ("is impossible" in said and expected)

    answered()


@pytest.mark.parametrize("section", sorted(Regime.model_fields))
def test_an_unknown_key_is_answered_with_the_known_ones(section):
    message = refusal({section: {"temperature": 1.5}})
    assert f"[{section}] has no key 'temperature' (got temperature = 1.5)" in message
    for key in type(getattr(Regime(), section)).model_fields:
        assert key in message.split("expected one of ", 1)[1]


@FEW
@given(WORDS.filter(lambda name: name not in Regime.model_fields))
def test_an_unknown_table_is_answered_with_the_known_ones(name):
    message = refusal({name: {}})
    assert f"unknown table [{name}]; expected one of [concepts], [prompt], [model], [training], [ensemble]" in message


@pytest.mark.parametrize("value", [5, "text", None, [1], True])
@pytest.mark.parametrize("section", sorted(Regime.model_fields))
def test_a_table_that_is_none_is_answered(section, value):
    assert f"[{section}] is " in (message := refusal({section: value}))
    assert "expected a table of keys" in message


@pytest.mark.parametrize(
    ("tables", "key", "wanted"),
    [
        ({"concepts": {"K1": 3, "K2": 2, "d_x": 7}}, "d_x = 7", "type d_x = 8 or more"),
        ({"concepts": {"K1": 3, "d_y": 5}}, "d_y = 5", "type d_y = 6 or more"),
        ({"concepts": {"weights": [1.0]}}, "weights = [1.0]", "K1 = 2 of them, not 1"),
        ({"concepts": {"weights": [0.5, 0.4]}}, "weights = [0.5, 0.4]", "these sum to 0.9"),
        ({"training": {"lam": 0.0}}, "lam = 0.0", "or type schedule = 'constant'"),
    ],
)
def test_values_that_do_not_fit_together_are_answered(tables, key, wanted):
    message = refusal(tables)
    assert f"{key} is impossible: expected " in message
    assert wanted in message


def test_good_values_are_kept():
    regime = parse_regime(
        {
            "concepts": {"K1": 1, "K2": 0, "d_x": 2, "d_y": 2, "kappa_x": 0, "kappa_y": 0.999, "weights": [1]},
            "prompt": {"L": 1, "law": "iid", "p_extra": 1, "sigma_x": 3},
            "training": {"batch": "population", "record_every": "log", "lam": 0, "schedule": "constant"},
        },
        source="test",
    )
    assert regime.concepts.probabilities == (1.0,)
    assert (regime.prompt.law, regime.training.batch, regime.training.record_every) == ("iid", "population", "log")
    assert not regime.prompt.is_pure
    assert Regime().prompt.is_pure
    assert Regime().concepts.probabilities == (0.5, 0.5)


@pytest.mark.parametrize("key", ["p_extra", "sigma_x", "sigma_y"])
def test_any_noise_makes_a_prompt_impure(key):
    assert not Regime().replace(prompt={key: 1e-9}).prompt.is_pure


@pytest.mark.parametrize(
    ("steps", "record_every", "expected"),
    [
        (0, 10, (0,)),
        (0, "log", (0,)),
        (1, "log", (0, 1)),
        (20, 10, (0, 10, 20)),
        (25, 10, (0, 10, 20, 25)),
        (3, 10, (0, 3)),
        (3, 1, (0, 1, 2, 3)),
    ],
)
def test_record_steps(steps, record_every, expected):
    assert Regime().replace(training={"steps": steps, "record_every": record_every}).training.record_steps() == expected


@FEW
@given(st.integers(2, 10**7))
def test_a_logarithmic_grid_has_even_ratios(steps):
    grid = Regime().replace(training={"steps": steps, "record_every": "log"}).training.record_steps()
    assert grid[0] == 0
    assert grid[1] == 1
    assert grid[-1] == steps
    assert all(left < right for left, right in pairwise(grid))
    # Twenty points a decade: a ratio of at most 10^(1/20) = 1.122 (a little more where a decade is cut), up to rounding.
    assert all(right <= 1.16 * left + 1 for left, right in pairwise(grid[1:]))
    assert len(grid) <= 3 + 20 * math.log10(steps)


CHANGED = {
    ("concepts", "weights"): [0.25, 0.75],
    ("prompt", "law"): "iid",
    ("model", "activation"): "identity",
    ("model", "neurons"): "mirrored",
    ("training", "batch"): "population",
    ("training", "loss"): "squared",
    ("training", "schedule"): "constant",
    ("training", "record_every"): "log",
    ("ensemble", "dtype"): "float32",
    ("ensemble", "device"): "cpu",
    ("ensemble", "sampler"): "reduced",
    ("ensemble", "engine"): "autograd",
}


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_the_digest_sees_every_key(section, key):
    value = Regime().model_dump()[section][key]
    if (section, key) in CHANGED:
        other = CHANGED[section, key]
    else:
        other = value + 1 if isinstance(value, int) else value / 2 or 0.5
    assert Regime().replace(**{section: {key: other}}).digest() != Regime().digest()


def test_the_digest_is_stable():
    # Not in the order of keys, the way a number is typed, nor the process: hash randomisation must not reach it.
    tables = {"training": {"lam": 1e-3, "steps": 7}, "concepts": {"kappa_x": 0}}
    other = {"concepts": {"kappa_x": 0.0}, "training": {"steps": 7, "lam": 0.001}}
    assert parse_regime(tables, source="").digest() == parse_regime(other, source="").digest()
    script = f"from polyseme.theory.multi_concept.regime import parse_regime; print(parse_regime({tables!r}, source='').digest())"
    outside = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert outside.stdout.strip() == parse_regime(tables, source="").digest()


def test_replace_validates_again_and_leaves_the_regime_alone():
    regime = Regime()
    assert regime.replace(prompt={"L": 8}).prompt.L == 8
    assert regime.prompt.L == 4
    with pytest.raises(RegimeError, match=r"regime: \[prompt\] L = 0 is not accepted"):
        regime.replace(prompt={"L": 0})
    with pytest.raises(RegimeError, match="d_x = 16 is impossible"):
        regime.replace(concepts={"K1": 9})


def test_files_that_are_missing_or_no_toml_are_answered(tmp_path):
    good, text, bytes_ = tmp_path / "good.toml", tmp_path / "text.toml", tmp_path / "bytes.toml"
    good.write_text("[prompt]\nL = 9\n")
    text.write_text("L == 9")
    bytes_.write_bytes(b"\xff\xfe")
    assert load_regime(good).prompt.L == 9
    for path in (text, bytes_):
        with pytest.raises(RegimeError, match="expected TOML, got something else"):
            load_regime(path)
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(RegimeError, match="expected a regime file"):
            load_regime(path)


def test_a_file_is_loaded_by_its_name_as_text(tmp_path):
    (tmp_path / "regime.toml").write_text("[prompt]\nL = 9\n")
    assert load_regime(str(tmp_path / "regime.toml")) == load_regime(tmp_path / "regime.toml")
    with pytest.raises(RegimeError, match=r"no\.toml: expected a regime file .*, got 'No such file or directory'"):
        load_regime(str(tmp_path / "no.toml"))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"K1": 3}, r"got replace\(K1=3\), expected a table of keys, .*; type replace\(concepts=\{'K1': 3\}\)"),
        (
            {"nothing": {}},
            r"got replace\(nothing=\{\}\), expected a table of keys, one of concepts, .*; type replace\(concepts=",
        ),
        ({"prompt": 8}, r"got replace\(prompt=8\), expected"),
    ],
)
def test_a_key_without_its_table_is_answered_with_one_sentence(changes, sentence):
    with pytest.raises(RegimeError, match=sentence) as refused:
        Regime().replace(**changes)
    assert "\n" not in str(refused.value)
