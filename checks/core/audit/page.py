"""The audit as a table on a terminal, as JSON, and as a page."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from polyseme.checks.core.audit.rates import Rate
from polyseme.checks.core.audit.trial import Caught, Cell, table
from polyseme.checks.core.audit.true_claims import INFLATED, FalseAlarms
from polyseme.files import save_json, write_atomic

HARDEST = 8
"""How many coefficients the terminal shows; the page has all."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found: plants, detection rates, true claims; `parts` that were left out are empty lists."""

    plants: list[Caught]
    rates: list[Rate] = field(default_factory=list)
    true_claims: list[FalseAlarms] = field(default_factory=list)
    interrupted: bool = False

    @property
    def missed(self) -> list[Caught]:
        """Planted errors that no claim refuted and that are not proved to be none."""
        return [x for x in self.plants if x.is_missed]

    @property
    def is_sound(self) -> bool:
        """Nothing missed, no coefficient whose rate may be below 0.99 at these trials, and no false alarm."""
        return (
            not self.missed
            and all(x.caught == x.tried for x in self.rates)
            and all(x.is_sound for x in self.true_claims)
        )

    def sentences(self) -> list[str]:
        """The result in a few sentences."""
        caught = sum(x.is_caught for x in self.plants)
        equivalent = sum(bool(x.equivalent) for x in self.plants)
        lines = [
            f"{len(self.plants)} planted errors: {caught} refuted, {equivalent} proved to be no error, {len(self.missed)} missed."
        ]
        if self.rates:
            hits, tried = sum(x.caught for x in self.rates), sum(x.tried for x in self.rates)
            low = min(x.low for x in self.rates)
            lines.append(
                f"An error of 1% in one of {len(self.rates)} coefficients: caught in {hits} of {tried} random regimes; for the worst "
                f"coefficient with probability {low:.4f} or more (95%). Errors of {max(x.smallest for x in self.rates):.1e} and "
                "more were caught in every one."
            )
        if self.true_claims:
            runs, alarms = sum(x.runs for x in self.true_claims), sum(x.alarms for x in self.true_claims)
            from polyseme.checks.core.rules.bound import proportion_interval

            upper = proportion_interval(alarms, runs, 0.05)[1]
            lines.append(
                f"{runs} runs of true claims at the shipped level: {alarms} false alarms (rate at most {upper:.2g}, 95%); p-values "
                f"{'as they should be' if all(x.is_sound for x in self.true_claims) else 'NOT as they should be'}."
            )
        if self.interrupted:
            lines.append("Interrupted: what had been done until then is all that is shown.")
        return lines


def columns(cells: dict[str, dict[str, Cell]]) -> list[str]:
    """The claims of a table, "any" first, in the order in which they were met."""
    return list(dict.fromkeys(name for row in cells.values() for name in row))


def print_tables(audit: Audit) -> None:
    """Operators by what caught them, the claims below each other, on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    shown = Table("operator", "claim", "caught", "rate, exact, each end 95%", title="Planted errors")
    for operator, row in table(audit.plants).items():
        for claim, cell in row.items():
            whole = claim == "any"
            style = "" if not whole else "bold red" if cell.caught < cell.tried else "bold green"
            shown.add_row(
                operator if whole else "",
                claim,
                f"{cell.caught}/{cell.tried}",
                f"{cell.low:.3f} to {cell.high:.3f}",
                style=style,
            )
    console.print(shown)
    for caught in audit.plants:
        if caught.equivalent:
            console.print(f"no error: {caught.operator}, {caught.name}: {caught.equivalent}")
        elif caught.is_missed:
            where = f", though it can be distinguished in {caught.separated_by}" if caught.separated_by else ""
            fate = "could not be run, so it was not judged" if caught.could_not_run else f"MISSED{where}"
            console.print(f"{caught.operator}, {caught.name}: {fate}", style="bold red")
    if audit.rates:
        shown = Table(
            "coefficient", "caught", "rate, exact, each end 95%", "smallest always caught", title="Errors of 1%"
        )
        for rate in audit.rates:
            shown.add_row(
                rate.name, f"{rate.caught}/{rate.tried}", f"{rate.low:.4f} to {rate.high:.4f}", f"{rate.smallest:.1e}"
            )
        console.print(shown)
    if audit.true_claims:
        shown = Table(
            "true claim",
            "runs",
            "false alarms",
            "rate at most",
            f"wrong at the margin, level {INFLATED:g}",
            "p-values",
            title="True claims",
        )
        for x in audit.true_claims:
            edge = f"{x.wrong[0]} supported, {x.wrong[1]} refuted" if x.p_uniform is not None else ""
            p = f"{x.p_uniform:.2g}" if x.p_uniform is not None else ""
            shown.add_row(x.name, str(x.runs), str(x.alarms), f"{x.upper:.2g}", edge, p)
        console.print(shown)


def plain(audit: Audit) -> dict[str, Any]:
    """The audit as nested plain data, for audit.json."""
    return {
        "sound": audit.is_sound,
        "interrupted": audit.interrupted,
        "sentences": audit.sentences(),
        "table": {op: {name: asdict(cell) for name, cell in row.items()} for op, row in table(audit.plants).items()},
        "plants": [asdict(x) | {"caught": x.is_caught, "missed": x.is_missed} for x in audit.plants],
        "rates": [asdict(x) for x in audit.rates],
        "true_claims": [asdict(x) | {"sound": x.is_sound} for x in audit.true_claims],
    }


def write(audit: Audit, folder: Path) -> None:
    """audit.json and audit.html in a folder, each whole or not at all."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "report" / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    cells = table(audit.plants)
    page = environment.get_template("audit.html.j2").render(
        audit=audit, cells=cells, columns=columns(cells), inflated=INFLATED
    )
    save_json(folder / "audit.json", plain(audit))
    write_atomic(folder / "audit.html", page)
