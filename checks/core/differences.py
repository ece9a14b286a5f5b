"""In what a regime differs from the default one: as tables, in a sentence, as a regime file."""

from collections.abc import Mapping
from typing import Any

import tomli_w

from polyseme.regime import BaseRegime


def changed(regime: BaseRegime) -> Mapping[str, Mapping[str, Any]]:
    """The keys in which a regime differs from the default one, table by table."""
    plain, default = regime.model_dump(), type(regime)().model_dump()
    tables = {
        section: {key: value for key, value in keys.items() if value != default[section][key] and value is not None}
        for section, keys in plain.items()
    }
    return {section: keys for section, keys in tables.items() if keys}


def in_words(regime: BaseRegime) -> str:
    """The same in a line, without the seed and what is of the run time alone."""
    shown = {key.name for key in type(regime).keys().values() if key.role not in ("seed", "run time")}
    tables = changed(regime)
    return ", ".join(f"{key} = {value}" for keys in tables.values() for key, value in keys.items() if key in shown)


def as_toml(regime: BaseRegime, theory: str = "") -> str:
    """A regime file with those keys, and the theory where it is named."""
    tables = {
        section: {key: list(x) if isinstance(x, tuple) else x for key, x in keys.items()}
        for section, keys in changed(regime).items()
    }
    return tomli_w.dumps(({"theory": theory} if theory else {}) | tables)
