"""What tests of commands share: a small regime as a file, a call, and an archive read back."""

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from polyseme.checks.command_line import app

SMALL = {
    "concepts": {"K1": 2, "K2": 1, "d_x": 7, "d_y": 5},
    "prompt": {"L": 3},
    "model": {"m": 4, "sigma_0": 0.3, "sigma_1": 0.3},
    "training": {"steps": 40, "batch": 4, "lam": 1e-3, "gamma": 200.0, "record_every": 10},
}


def write_regime(path: Path, **changes) -> Path:
    """A small regime as a TOML file, some keys changed."""
    tables = {name: SMALL.get(name, {}) | changes.get(name, {}) for name in SMALL | changes}
    lines = [
        f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items()) for name, keys in tables.items()
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def call(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.stdout, result.stderr


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}
