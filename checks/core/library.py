"""The commands `verify`, `falsify` and `sweep` as functions: they refuse and choose as on the command line."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from polyseme.checks.core.budget import even_share, family_size
from polyseme.checks.core.choice import about_a_regime, chosen_claims, claim_to_break, dropped_keys
from polyseme.checks.core.claim import VERDICTS, Claim, Verdict
from polyseme.checks.core.context import Effort
from polyseme.checks.core.evaluation import evaluate_claim, exit_status, settle_records
from polyseme.checks.core.own_claims import load_claims
from polyseme.checks.core.provenance import Record, close_over_uses
from polyseme.checks.core.records import decisive
from polyseme.checks.core.spelling import nearest
from polyseme.checks.core.theories import default_regime, theory_for, theory_in, theory_named, theory_of
from polyseme.checks.core.theory import Theory
from polyseme.errors import PolysemeError
from polyseme.files import require_writable
from polyseme.regime import BaseRegime

TheoryLike = Theory | str | Path
"""A theory, the name of an installed one, or the path of a file with one."""


@dataclass(frozen=True, kw_only=True)
class VerdictOn:
    """The verdict on one claim, with all that was recorded of it; shows itself as a row of a table in a notebook."""

    record: Record

    @property
    def id(self) -> str:
        """The claim."""
        return self.record["id"]

    @property
    def verdict(self) -> Verdict:
        """What the evidence says about it."""
        return Verdict(self.record["verdict"])

    def __str__(self) -> str:
        """One line."""
        return f"{VERDICTS[self.verdict][0]} {self.verdict:<14} {self.id}: {self.record['sentence']}"

    def _repr_html_(self) -> str:
        return _table([self])


@dataclass(frozen=True, kw_only=True)
class Verdicts(Mapping[str, VerdictOn]):
    """The verdicts of one verification by the ids of the claims, in the order of the argument; a table in a notebook."""

    regime: BaseRegime
    of: tuple[VerdictOn, ...]
    report: Path | None = None
    """The page, if the verification was written into a folder."""

    def __getitem__(self, identifier: str) -> VerdictOn:
        """The verdict on a claim; KeyError with the id that is most like it if it was not tried."""
        for one in self.of:
            if one.id == identifier:
                return one
        close = nearest(identifier, [one.id for one in self.of])
        raise KeyError(f"{identifier} was not tried{'; did you mean ' + close + '?' if close else ''}")

    def __iter__(self) -> Iterator[str]:
        """The ids."""
        return (one.id for one in self.of)

    def __len__(self) -> int:
        """How many claims were tried."""
        return len(self.of)

    @property
    def exit_status(self) -> int:
        """That of `polyseme verify`: 0 if all applicable claims are supported."""
        return exit_status([one.record for one in self.of])

    def __str__(self) -> str:
        """A line for each claim."""
        return "\n".join(map(str, self.of))

    def _repr_html_(self) -> str:
        return _table(self.of)


def _table(verdicts: Sequence[VerdictOn]) -> str:
    """Verdict, claim, measured and allowed, as an HTML table."""
    head = "".join(f"<th>{name}</th>" for name in ("verdict", "claim", "statement", "measured", "allowed"))
    rows = []
    for one in verdicts:
        part = decisive(one.record)
        numbers = (part["measured"], part["bound"])
        measured, allowed = ("" if x is None else f"{x:.3g}" for x in numbers)
        cells = (
            f"{VERDICTS[one.verdict][0]} {one.verdict.replace('_', ' ')}",
            one.id,
            one.record["statement"],
            measured,
            allowed,
        )
        rows.append("<tr>" + "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _found(theory: TheoryLike | None, regime: BaseRegime | None = None) -> Theory:
    """The theory that is named, that a regime belongs to, or the default one."""
    if isinstance(theory, Theory):
        return theory
    if theory is not None:
        return theory_in(Path(theory)) if str(theory).endswith(".py") else theory_named(str(theory))
    return theory_for(regime) if regime is not None else theory_of()


def _registry(theory: Theory, claims: Any) -> tuple[Claim, ...]:
    """The claims of a theory with those of one's own; PolysemeError for a file that is bad."""
    claims = _listed(claims)
    own = [one for one in claims if isinstance(one, Claim)]
    loaded = load_claims([Path(one) for one in claims if not isinstance(one, Claim)], (*theory.claims, *own))
    if loaded.problems:
        raise PolysemeError(loaded.problems[0])
    return (*theory.claims, *own, *loaded.claims)


def _listed(value: Any) -> list[Any]:
    """One of something, or several, as a list."""
    return [value] if isinstance(value, str | Path | Claim) else list(value)


def _quiet(_task: str) -> Callable[[int, int], None]:
    return lambda _done, _total: None


def verify(
    regime: BaseRegime | str | Path | None = None,
    *,
    only: str | Sequence[str] = "*",
    this_regime: bool = False,
    claims: Claim | str | Path | Sequence[Claim | str | Path] = (),
    theory: TheoryLike | None = None,
    drop: str | Sequence[str] = (),
    effort: Effort = "small",
    out: str | Path | None = None,
    announce: Callable[[VerdictOn], None] | None = None,
) -> Verdicts:
    """Evaluate the claims of a theory at a regime, each with its negative control.

    `regime`: a regime, the path of a regime file, or the theory's default if absent. `only`: the claims whose id matches a glob, or one of several;
    `this_regime` leaves out those that look at no regime. `claims`: more of your own, as objects or files. `drop`: keys of
    hypotheses that are not asked for. `out`: a folder for results, figures and report, which also trains the ensemble that the
    figures show; nothing is written if absent. `announce` is called with each verdict as it is reached.
    PolysemeError for a regime, a pattern, a claim or a key that there is not.
    """
    if isinstance(regime, str | Path):
        found = _found(theory) if theory is not None else theory_of(regime)
        here = found.regime.load(regime)
    else:
        found = _found(theory, regime)
        here = default_regime(found) if regime is None else regime
    if not isinstance(here, found.regime):
        raise PolysemeError(
            f"got a {type(here).__name__} for the theory {found.name}, expected its {found.regime.__name__}; type theory=..., or a regime of it"
        )
    registered = _registry(found, claims)
    chosen = chosen_claims(_listed(only), registered, this_regime=this_regime, said=("only", "this_regime"))
    dropped = dropped_keys(_listed(drop), chosen, said="drop")
    name = Path(regime).stem if isinstance(regime, str | Path) else found.name
    told: Callable[[Record], None] = (
        (lambda record: announce(VerdictOn(record=record))) if announce else (lambda _record: None)
    )
    if out is not None:
        from polyseme.checks.core.verify import verify as run

        require_writable(Path(out), folder=True)
        records = run(
            here,
            chosen,
            Path(out),
            theory=found,
            registered=registered,
            name=name,
            replay="",
            announce=told,
            progress=_quiet,
            drop=dropped,
            effort=effort,
        )
        return Verdicts(regime=here, of=tuple(VerdictOn(record=x) for x in records), report=Path(out) / "report.html")
    family = family_size(registered)
    context = found.context(here, level=even_share(family), effort=effort)
    records = []
    for claim in chosen:
        records.append(evaluate_claim(claim, context, replay="", drop=dropped))
        told(records[-1])
    settle_records(records, family)
    close_over_uses(records)
    return Verdicts(regime=here, of=tuple(VerdictOn(record=x) for x in records))


def falsify(
    claim: str | Claim,
    *,
    budget: int = 200,
    drop: str | Sequence[str] = (),
    seed: int = 0,
    theory: TheoryLike | None = None,
    claims: Claim | str | Path | Sequence[Claim | str | Path] = (),
) -> Any:
    """Search regimes that satisfy a claim's hypotheses for one that breaks it (`checks.core.falsify.Search`), and shrink it.

    `counterexample` of what is returned is a regime with its outcome, or None. PolysemeError for a claim or a key that there is not.
    """
    from polyseme.checks.core.falsify import search

    found = _found(theory)
    registered = _registry(found, claims)
    chosen = about_a_regime(claim) if isinstance(claim, Claim) else claim_to_break(claim, registered)
    dropped = dropped_keys(_listed(drop), [chosen], said="drop")
    return search(chosen, found, budget=budget, level=even_share(family_size(registered)), drop=dropped, seed=seed)


def sweep(
    grid: str | Path,
    out: str | Path,
    *,
    theory: TheoryLike | None = None,
    claims: Sequence[str | Path] = (),
    processes: int | None = None,
) -> Path:
    """Judge claims at every point of a sweep file, in processes of this machine; the path of the table, in Parquet.

    Every point is kept in `out` as it is judged: called again, it goes on with what is missing. PolysemeError for whatever is
    wrong with the file.
    """
    from polyseme.checks.core.sweeps import pools
    from polyseme.checks.core.sweeps.folder import TABLE, Folder
    from polyseme.checks.core.sweeps.grid import load_grid
    from polyseme.checks.core.sweeps.run import lay_out, run
    from polyseme.checks.core.sweeps.task import files_of
    from polyseme.checks.core.theories import reference_to
    from polyseme.processes import cores, stopping

    found = _found(theory) if theory is not None else theory_of(grid)
    paths = [Path(one) for one in claims]
    require_writable(Path(out), folder=True)
    layout = lay_out(load_grid(Path(grid), found, _registry(found, paths)), files=files_of(paths))
    folder = Folder(path=Path(out))
    with (
        folder.locked(),
        stopping(threading.Event(), after="point") as stop,
        pools.processes(processes or cores(), reference_to(found)) as pool,
    ):
        state = run(layout, folder, pool, stop, lambda _state: None)
    if state.kept < state.total:
        raise KeyboardInterrupt("every point that was judged is kept: call it again to go on")
    return folder.path / TABLE
