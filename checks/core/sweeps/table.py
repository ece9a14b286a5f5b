"""The tidy table of a sweep: a row for each point and claim, in Parquet, which pandas, polars and DuckDB read."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyseme.files import replacing
from polyseme.regime import BaseRegime, Key

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 4096

COLUMNS: dict[str, str] = {
    "point": "number of the point in the design",
    "claim": "id of the claim",
    "verdict": "supported, refuted, inconclusive, not_applicable, missing or error",
    "measured": "the worst measured value, in the units of the claim's rule",
    "allowed": "what was allowed of it",
    "margin": "measured over allowed: the claim is at its end at 1; NaN where nothing is allowed",
    "p_support": "of a statistical claim: how surprising the evidence is if the claim is off by its margin",
    "p_refute": "of a statistical claim: how surprising it is if the claim is true",
    "control": "the verdict on the negative control",
    "facts": "single numbers and words that the check saw, as JSON",
    "sentence": "the verdict in words",
    "quarantined": "whether a check broke at this point; the traceback is in quarantine/",
    "seconds": "what the claim took",
    "regime_hash": "SHA-256 of the regime",
    "point_hash": "SHA-256 of all that the outcome depends on; the name of the point's file",
    "code_hash": "SHA-256 of the code and of the versions that it rounds by",
}
"""Columns beside those of the regime's keys, which have the names of the keys. A word for infinitely many is infinite."""


def schema(regime: type[BaseRegime]) -> "pa.Schema":
    """Names and types of all columns, for a theory's regime."""
    import pyarrow as pa

    kinds = {"whole": pa.int64(), "real": pa.float64(), "text": pa.string(), "list": pa.list_(pa.float64())}
    types: dict[str, Any] = {"point": pa.int64(), "claim": pa.string(), "verdict": pa.string()}
    types |= {key.name: kinds[key.kind] for key in regime.keys().values()}
    numbers = ("measured", "allowed", "margin", "p_support", "p_refute", "seconds")
    for name in COLUMNS:
        types.setdefault(
            name, pa.float64() if name in numbers else pa.bool_() if name == "quarantined" else pa.string()
        )
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


def rows_of(
    number: int, digest: str, outcome: Mapping[str, Any], known: Mapping[str, Key], *, code: str
) -> Iterator[dict[str, Any]]:
    """The rows of one point; `known` are the keys of the regime."""
    regime: dict[str, dict[str, Any]] = outcome["regime"]
    keys = {key: _cell(known[key], value) for table in regime.values() for key, value in table.items()}
    of_point = {
        **keys,
        "point": number,
        "quarantined": outcome["quarantined"],
        "regime_hash": hashlib.sha256(json.dumps(regime, sort_keys=True).encode()).hexdigest(),
        "point_hash": digest,
        "code_hash": code,
    }
    for record in outcome["records"]:
        measured, allowed = _number(record["measured"]), _number(record["bound"])
        statistics = record["statistics"] or {}
        yield of_point | {
            "claim": record["id"],
            "verdict": record["verdict"],
            "measured": measured,
            "allowed": allowed,
            "margin": measured / allowed if measured is not None and allowed else None,
            "p_support": _number(statistics.get("p_support")),
            "p_refute": _number(statistics.get("p_refute")),
            "control": record["control"],
            "facts": json.dumps(record["facts"]),
            "sentence": record["sentence"],
            "seconds": _number(record["seconds"]),
        }


def _cell(key: Key, value: Any) -> Any:
    """A value of a key as its column has it."""
    if key.infinite and value == key.infinite:
        return math.inf
    if value is None or key.kind == "list":
        return value
    return {"whole": int, "real": float, "text": str}[key.kind](value)


def _number(value: Any) -> float | None:
    """Files write numbers that are not finite as words."""
    return None if value is None else float(value)


def write_table(
    path: Path, rows: Iterator[dict[str, Any]], metadata: Mapping[str, str], regime: type[BaseRegime]
) -> None:
    """Write rows to a Parquet file, whole or not at all, a few thousand in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    form = schema(regime).with_metadata(dict(metadata))
    with replacing(path) as file, pq.ParquetWriter(file, form, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(batch, schema=form))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=form))


def columns_of(path: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Some columns of a table."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=list(names)).to_pydict()
