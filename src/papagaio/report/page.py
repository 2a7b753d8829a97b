"""`report.html`: a result rendered into its template."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from papagaio import files
from papagaio.report import numbers
from papagaio.report.cautions import cautions
from papagaio.report.classes import class_figures
from papagaio.report.copies import trainings
from papagaio.report.curve import budget_curve
from papagaio.report.epochs import epoch_curve
from papagaio.report.headline import conclusion, headline, headline_row
from papagaio.report.references import references
from papagaio.report.showing_less import advice, showing_less
from papagaio.result import CandidateRecord, Result

__all__ = ["environment", "render", "write_report"]


def render(result: Result) -> str:
    """The report: one HTML page that loads nothing from outside."""
    row = headline_row(result)
    responses = showing_less(result)
    return (
        environment("papagaio.report")
        .get_template("report.html.j2")
        .render(
            result=result,
            cautions=cautions(result),
            headline=headline(result),
            conclusion=conclusion(result),
            budget_curve=budget_curve(result),
            epoch_curve=epoch_curve(result),
            references=references(result),
            responses=responses,
            advice=advice(responses),
            copy=next(iter(trainings(result, row)), None) if row else None,
            chosen=_chosen(result),
            classes=class_figures(result),
        )
    )


def write_report(result: Result, path: Path) -> None:
    """Write `report.html`, completely or not at all.

    Raises:
        NoSpace: the disk is full.
    """
    files.write(path, render(result))


def environment(*packages: str) -> Environment:
    """A Jinja environment for the templates of some packages, with number formats as filters."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    for form in (
        numbers.count,
        numbers.duration,
        numbers.listing,
        numbers.money,
        numbers.nats,
        numbers.percent,
        numbers.plural,
        numbers.ratio,
        numbers.share,
    ):
        made.filters[form.__name__] = form
    made.filters["augmentation"] = _augmentation
    made.filters["recipe"] = _recipe
    made.filters["setting"] = lambda value: json.dumps(value, ensure_ascii=False)
    return made


def _augmentation(names: Sequence[str]) -> str:
    return " + ".join(names) or "none"


def _recipe(candidate: CandidateRecord) -> str:
    """What a candidate is trained with: `crop + flip; loss centred-l1`."""
    others = (
        f"{name.replace('_', ' ')} {value}"
        for name, value in candidate.changes.items()
        if name != "augmentation"
    )
    return "; ".join(filter(None, (_augmentation(candidate.augmentation), ", ".join(others))))


def _chosen(result: Result) -> str:
    """How many copies chose each candidate: `none 8, crop + flip 4`."""
    choices = Counter(
        _recipe(cell.selection.winner)
        for cell in result.cells
        if cell.kind == "copy" and cell.selection
    )
    return ", ".join(f"{name} {count}" for name, count in choices.most_common())
