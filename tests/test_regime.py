"""The base of every regime, on a small one that is made up: kinds and roles of keys, what is refused, and seeds."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from polyseme.errors import RegimeError
from polyseme.regime import BaseRegime, Section, impossible, key, read_tables


class Lattice(Section):
    """Sizes and constants."""

    side: int = key(
        8, "sites along an edge", "a whole number of at least 1", ge=1, label="edge", symbol="$n$", role="size"
    )
    coupling: float = key(0.5, "strength of the coupling", "a number of at least 0, for example coupling = 0.5", ge=0)
    kind: Literal["square", "cubic"] = key("square", "shape of the lattice", "'square' or 'cubic'", label="shape")
    fields: tuple[float, ...] | None = key(None, "field on each edge", "numbers, for example fields = [0.5, 0.1]")


class Run(Section):
    """How long, and from where."""

    sweeps: Literal["limit"] | Annotated[int, Field(ge=1)] = key(
        10, "updates of every site", "a whole number of at least 1 or 'limit'", infinite="limit"
    )
    record: Literal["log"] | Annotated[int, Field(ge=1)] = key(
        1, "updates between records", "a whole number of at least 1 or 'log'", role="run time"
    )
    start: int = key(0, "where random streams begin", "a whole number of at least 0", ge=0, role="seed")


class Regime(BaseRegime):
    """A made-up regime."""

    lattice: Lattice = Lattice()
    run: Run = Run()


KEYS = Regime.keys()


def test_keys_are_in_the_order_of_declaration_with_their_tables():
    assert list(KEYS) == ["side", "coupling", "kind", "fields", "sweeps", "record", "start"]
    assert {one.name for one in KEYS.values() if one.table == "run"} == {"sweeps", "record", "start"}
    assert KEYS["side"].default == 8 and KEYS["side"].meaning == "sites along an edge"
    assert all(name == one.name for name, one in KEYS.items())


def test_the_kind_of_a_key_is_that_of_its_values():
    kinds = {name: one.kind for name, one in KEYS.items()}
    assert kinds == {
        "side": "whole",
        "coupling": "real",
        "kind": "text",
        "fields": "list",
        "sweeps": "real",  # infinite, too
        "record": "text",
        "start": "whole",
    }
    assert {name for name, one in KEYS.items() if one.is_whole} == {"side", "sweeps", "record", "start"}


def test_roles_and_words_for_infinitely_many():
    roles = {name: one.role for name, one in KEYS.items()}
    assert roles.pop("side") == "size" and roles.pop("record") == "run time" and roles.pop("start") == "seed"
    assert set(roles.values()) == {"physics"}
    assert {name: one.infinite for name, one in KEYS.items() if one.infinite} == {"sweeps": "limit"}


def test_an_axis_says_label_and_symbol_or_else_the_meaning():
    assert [KEYS[name].axis_label for name in ("side", "kind", "coupling")] == [
        "edge $n$",
        "shape",
        "strength of the coupling",
    ]


class Seedless(BaseRegime):
    lattice: Lattice = Lattice()


class Twice(BaseRegime):
    lattice: Lattice = Lattice()
    other: Lattice = Lattice()


class Bare(Section):
    temperature: float = 1.0


class Undeclared(BaseRegime):
    bare: Bare = Bare()
    run: Run = Run()


def test_a_regime_without_a_seed_is_refused():
    assert len(Seedless.keys()) == 4
    with pytest.raises(TypeError, match="Seedless has no key with role='seed', expected one"):
        Seedless.seed_key()


def test_names_that_are_there_twice_are_refused():
    with pytest.raises(TypeError, match=r"Twice has 'side' in \[lattice\] and in \[other\], expected unique names"):
        Twice.keys()


def test_a_key_that_is_declared_without_its_words_is_refused():
    with pytest.raises(TypeError, match=r"\[bare\] temperature is declared without polyseme.regime.key, expected"):
        Undeclared.keys()


def test_another_seed_changes_nothing_else():
    regime = Regime().replace(lattice={"side": 3}).reseeded(7)
    assert Regime.seed_key() == KEYS["start"] and regime.seed_value == 7
    assert regime.reseeded(0) == Regime().replace(lattice={"side": 3})
    with pytest.raises(RegimeError, match=r"\[run\] start = -1 is not accepted: expected a whole number of at least 0"):
        regime.reseeded(-1)


def test_replaced_keys_are_validated_and_the_others_stay():
    regime = Regime().replace(lattice={"side": 3, "fields": (0.5, 0.1)}, run={"sweeps": "limit"})
    assert (regime.lattice.side, regime.lattice.fields, regime.run.sweeps) == (3, (0.5, 0.1), "limit")
    assert regime.lattice.coupling == 0.5 and Regime() == Regime().replace()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"grid": {"side": 3}},
            "regime: got replace(grid={'side': 3}), expected a table of keys, one of lattice, run; type "
            "replace(lattice={...})",
        ),
        (
            {"sweeps": 3},
            "regime: got replace(sweeps=3), expected a table of keys, one of lattice, run; type "
            "replace(run={'sweeps': 3})",
        ),
        ({"run": 3}, "regime: got replace(run=3), expected the keys to change; type replace(run={'sweeps': ...})"),
        (
            {"run": {"side": 3}},
            "regime: [run] has no key 'side' (got side = 3); expected one of sweeps, record, start",
        ),
        (
            {"lattice": {"side": 0}},
            "regime: [lattice] side = 0 is not accepted: expected a whole number of at least 1",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked_types")  # users have none
def test_what_cannot_be_replaced_is_answered_with_what_to_type(changes, sentence):
    with pytest.raises(RegimeError) as refused:
        Regime().replace(**changes)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"grid": {}}, "unknown table [grid]; expected one of [lattice], [run]"),
        (
            {"lattice": 3},
            "[lattice] is 3: expected a table of keys, for example [lattice] with side = ... below it",
        ),
        (
            {"lattice": {"width": 3}},
            "[lattice] has no key 'width' (got width = 3); expected one of side, coupling, kind, fields",
        ),
        ({"lattice": {"kind": "round"}}, "[lattice] kind = \"round\" is not accepted: expected 'square' or 'cubic'"),
        (
            {"lattice": {"side": "x" * 99}},
            f'[lattice] side = "{"x" * 56}... is not accepted: expected a whole number of at least 1',
        ),
        (
            {"run": {"sweeps": True}},
            "[run] sweeps = true is not accepted: expected a whole number of at least 1 or 'limit'",
        ),
    ],
)
def test_a_regime_that_cannot_exist_is_refused_in_one_sentence(tables, sentence):
    with pytest.raises(RegimeError) as refused:
        Regime.parse(tables, source="a.toml")
    assert str(refused.value) == f"a.toml: {sentence}"


def test_keys_that_do_not_fit_together_are_refused_in_the_same_words():
    class Even(Lattice):
        @model_validator(mode="after")
        def _is_even(self) -> "Even":
            if self.side % 2:
                raise impossible("side", self.side, f"an even number; type side = {self.side + 1}")
            return self

    class OfPairs(BaseRegime):
        lattice: Even = Even()

    with pytest.raises(RegimeError) as refused:
        OfPairs.parse({"lattice": {"side": 3}}, source="a.toml")
    assert str(refused.value) == "a.toml: [lattice] side = 3 is impossible: expected an even number; type side = 4"


def test_a_file_names_its_theory_besides_its_keys(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('theory = "lattices"\n[lattice]\nside = 3\n', encoding="utf-8")
    assert read_tables(path)["theory"] == "lattices"
    assert Regime.load(path) == Regime().replace(lattice={"side": 3})


@pytest.mark.parametrize(
    ("text", "words"), [(None, "expected a regime file (TOML)"), ("[lattice", "expected TOML, got something else")]
)
def test_a_file_that_is_none_is_refused_in_one_sentence(tmp_path, text, words):
    path = tmp_path / "a.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(RegimeError) as refused:
        Regime.load(path)
    assert words in str(refused.value) and str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)


def test_the_name_of_a_regime_is_that_of_its_values():
    same = Regime.parse({"lattice": {"coupling": 0.5}}, source="a.toml")
    assert same.digest() == Regime().digest() != Regime().reseeded(1).digest()
