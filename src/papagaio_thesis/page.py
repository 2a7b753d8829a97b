"""The files of a reproduction: `thesis.json`, a page, Markdown, CSV tables and SVG figures."""

from importlib.resources import files as resources
from pathlib import Path

from markupsafe import Markup

from papagaio import files
from papagaio.report.page import environment
from papagaio_thesis.claims import claims
from papagaio_thesis.figures import digits_figure, figure_5
from papagaio_thesis.records import ThesisResult
from papagaio_thesis.tables import cells, is_reduced, tables, to_csv, to_markdown
from papagaio_thesis.tables_of_readings import (
    readings_cells,
    readings_note,
    readings_to_csv,
    readings_to_markdown,
)

__all__ = ["render", "write_pages"]


def write_pages(result: ThesisResult, out: Path) -> None:
    """Write every file of a reproduction, each completely or not at all.

    Raises:
        NoSpace: the disk is full.
    """
    files.write(out / "thesis.json", result.model_dump_json(indent=1) + "\n")
    for table in tables(result):
        files.write(out / "tables" / f"table-{table.number}.csv", to_csv(table))
    if result.readings:
        files.write(out / "tables" / "readings.csv", readings_to_csv(result))
    for name, figure in _figures(result).items():
        files.write(out / "figures" / f"{name}.svg", _with_style(figure))
    files.write(out / "thesis.md", render(result, "thesis.md.j2"))
    files.write(out / "thesis.html", render(result, "thesis.html.j2"))


def render(result: ThesisResult, template: str) -> str:
    """Render the result as one page that loads nothing from elsewhere."""
    jinja = environment("papagaio_thesis", "papagaio.report")
    jinja.filters |= {
        "cells": cells,
        "markdown": to_markdown,
        "readings_markdown": readings_to_markdown,
        "readings_note": readings_note,
    }
    return jinja.get_template(template).render(
        result=result,
        reduced=is_reduced(result.options),
        tables=tables(result),
        readings=readings_cells(result) if result.readings else [],
        claims=claims(result),
        figures=_figures(result),
    )


def _figures(result: ThesisResult) -> dict[str, Markup]:
    recipes = dict.fromkeys(record.recipe for record in result.digits)
    drawn = {"figure-5": figure_5(result)} | {
        f"digits-{recipe}": digits_figure(result.digits, recipe) for recipe in recipes
    }
    return {name: figure for name, figure in drawn.items() if figure}


def _with_style(figure: Markup) -> str:
    """A figure as a file of its own, with the page's style."""
    style = (resources("papagaio.report") / "report.css").read_text(encoding="utf-8")
    style += "svg { font-family: system-ui, sans-serif; background: var(--paper); }"
    head, rest = figure.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'
