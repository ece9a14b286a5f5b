"""What a user asks for by pattern, id and key, and what is refused."""

import pytest

from polyseme.checks.core.choice import chosen_claims, claim_to_break, dropped_keys, select
from polyseme.checks.multi_concept.claims import CLAIMS
from polyseme.errors import PolysemeError


def test_select_takes_ids_and_globs_in_the_order_of_the_registry():
    assert select("*", CLAIMS) == CLAIMS
    assert select(CLAIMS[3].id, CLAIMS) == (CLAIMS[3],)
    assert select("closure", CLAIMS) == select("closure/*", CLAIMS)
    assert [claim.id for claim in select("closure/*", CLAIMS)] == [c.id for c in CLAIMS if c.id.startswith("closure/")]
    assert {claim.family for claim in select("[ag]*", CLAIMS)} == {"algebra", "gradient"}


@pytest.mark.parametrize("pattern", ["", "nothing", "CLOSURE/*", "Closure", "algebra/"])
def test_a_glob_that_matches_nothing_names_what_would(pattern):
    with pytest.raises(PolysemeError) as caught:
        select(pattern, CLAIMS)
    assert str(caught.value).startswith(f"--only '{pattern}' matches no claim; type ")
    assert "'algebra/*', 'gradient/*', " in str(caught.value)


def test_a_mistyped_id_is_answered_with_the_one_that_is_most_like_it():
    with pytest.raises(PolysemeError, match=f"type {CLAIMS[0].id} "):
        select(CLAIMS[0].id.replace("_", "-"), CLAIMS)


def test_several_patterns_choose_in_the_order_of_the_registry():
    said = ("only", "this_regime")
    assert chosen_claims((), CLAIMS, this_regime=False, said=said) == CLAIMS
    both = chosen_claims(("gradient", "algebra"), CLAIMS, this_regime=False, said=said)
    assert both == tuple(claim for claim in CLAIMS if claim.family in {"algebra", "gradient"})
    here = chosen_claims((), CLAIMS, this_regime=True, said=said)
    assert here == tuple(claim for claim in CLAIMS if claim.scope == "this regime")


def test_what_nothing_remains_of_is_refused_in_the_words_of_the_user():
    with pytest.raises(PolysemeError, match=r"^only 'nothing' matches no claim; type "):
        chosen_claims(("nothing",), CLAIMS, this_regime=False, said=("only", "this_regime"))
    symbolic = next(claim.id for claim in CLAIMS if claim.scope == "any regime")
    with pytest.raises(PolysemeError, match=f"^only '{symbolic}' matches .* alone; type it without this_regime$"):
        chosen_claims((symbolic,), CLAIMS, this_regime=True, said=("only", "this_regime"))
    with pytest.raises(PolysemeError, match="looks at nothing of the regime"):
        claim_to_break(symbolic, CLAIMS)
    with pytest.raises(PolysemeError, match=f"expected an id such as {symbolic}"):
        claim_to_break(symbolic[:-1], CLAIMS)


def test_keys_of_hypotheses_are_those_that_are_asked_for():
    claim = next(claim for claim in CLAIMS if len({x.key for x in claim.hypotheses}) > 1)
    keys = sorted({x.key for x in claim.hypotheses})
    assert dropped_keys([*reversed(keys), keys[0]], [claim]) == tuple(keys)
    with pytest.raises(PolysemeError, match=f"^grid.toml: .sweep. drop 'no' is .*; type one of .*{keys[0]}"):
        dropped_keys(["no"], [claim], said="grid.toml: [sweep] drop")
    bare = next(claim for claim in CLAIMS if not claim.hypotheses)
    with pytest.raises(
        PolysemeError, match=r"^--drop 'pure' is no hypothesis of what is tried; it has none; leave it out$"
    ):
        dropped_keys(["pure"], [bare])
