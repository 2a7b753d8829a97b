"""The page: a result put into its template."""

import json
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from papagaio import files
from papagaio.report import numbers
from papagaio.report.cautions import cautions
from papagaio.report.classes import class_accuracies
from papagaio.report.curve import budget_curve
from papagaio.report.epochs import epoch_curve
from papagaio.report.headline import answer, headline
from papagaio.report.references import references
from papagaio.result import Result

__all__ = ["environment", "render", "write_report"]


def render(result: Result) -> str:
    """The report: one HTML page that needs nothing from outside itself."""
    return (
        environment("papagaio.report")
        .get_template("report.html.j2")
        .render(
            result=result,
            cautions=cautions(result),
            headline=headline(result),
            answer=answer(result),
            budget_curve=budget_curve(result),
            epoch_curve=epoch_curve(result),
            references=references(result),
            classes=class_accuracies(result),
        )
    )


def write_report(result: Result, path: Path) -> None:
    """Write `report.html`, whole or not at all.

    Raises:
        NoSpace: the disk is full.
    """
    files.write(path, render(result))


def environment(*packages: str) -> Environment:
    """What puts values into the templates of some packages, with the numbers' forms as filters."""
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
        numbers.money,
        numbers.nats,
        numbers.ratio,
        numbers.share,
    ):
        made.filters[form.__name__] = form
    made.filters["setting"] = lambda value: json.dumps(value, ensure_ascii=False)
    return made
