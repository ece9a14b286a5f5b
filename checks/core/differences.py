"""In what a regime differs from the default one: as tables, in a sentence, as a regime file."""

from collections.abc import Mapping
from typing import Any

import tomli_w

from polyseme.theory.multi_concept.regime import Regime


def changed(regime: Regime) -> Mapping[str, Mapping[str, Any]]:
    """The keys in which a regime differs from the default one, table by table."""
    plain, default = regime.model_dump(), Regime().model_dump()
    tables = {
        section: {key: value for key, value in keys.items() if value != default[section][key] and value is not None}
        for section, keys in plain.items()
    }
    return {section: keys for section, keys in tables.items() if keys}


def in_words(regime: Regime) -> str:
    """The same in a line, without the ensemble."""
    tables = {section: keys for section, keys in changed(regime).items() if section != "ensemble"}
    return ", ".join(f"{key} = {value}" for keys in tables.values() for key, value in keys.items())


def as_toml(regime: Regime) -> str:
    """A regime file with those keys."""
    tables = {
        section: {key: list(x) if isinstance(x, tuple) else x for key, x in keys.items()}
        for section, keys in changed(regime).items()
    }
    return tomli_w.dumps(tables)
