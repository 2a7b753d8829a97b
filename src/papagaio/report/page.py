"""`report.html`: a result rendered into its template, one section per file."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files as resources
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from papagaio import files, numbers
from papagaio.findings.copies import copy_cells, trainings
from papagaio.findings.headline import headline
from papagaio.findings.references import references
from papagaio.findings.stopping import stopping
from papagaio.findings.strongest import strongest_copy
from papagaio.findings.understating import understated
from papagaio.report.calibration import calibration
from papagaio.report.classes import class_figures
from papagaio.report.confusion import confused, matrix
from papagaio.report.cost import goals, in_a_sentence, offers, seconds_of
from papagaio.report.curve import budget_curve
from papagaio.report.epochs import epoch_curve
from papagaio.report.export import as_csv
from papagaio.report.gauge import gauge
from papagaio.report.lowering import fewer_answers, first_step, no_help, untried
from papagaio.report.showing_less import advice, showing_less
from papagaio.report.together import strongest, together
from papagaio.result import CandidateRecord, Result
from papagaio.verdict import verdict_of

__all__ = ["environment", "render", "write_report"]


def render(result: Result) -> str:
    """The report: one HTML page that loads nothing from outside."""
    script = resources("papagaio.report").joinpath("report.js").read_text(encoding="utf-8")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        environment("papagaio.report")
        .get_template("report.html.j2")
        .render(
            result=result,
            # The page's own text: a browser hashes what it reads.
            script=Markup(script),  # noqa: S704
            script_hash=Markup(f"sha256-{digest}"),  # noqa: S704
            **_verdict(result),
            **_cost(result),
            **_lowering(result),
            **_where(result),
            **_measured(result),
        )
    )


def write_report(result: Result, path: Path) -> None:
    """Write `report.html`, completely or not at all.

    Raises:
        NoSpace: the disk is full.
    """
    files.write(path, render(result))


@cache
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
        numbers.about,
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


def _verdict(result: Result) -> dict[str, object]:
    verdict, row = verdict_of(result), strongest_copy(result)
    undecided = verdict.level == "not decided"
    return {
        "verdict": verdict,
        # A large figure that only says "at least" looks like safety.
        "is_lower_bound": undecided and row is not None and understated(result, row) is not None,
        "cautions": verdict.cautions,
        "gauge": verdict.standing and gauge(verdict.standing),
        "seeds": row.seeds if row else 0,
        "seconds": seconds_of(result, row.budget) if row else None,
    }


def _cost(result: Result) -> dict[str, object]:
    lines, row = goals(result), strongest_copy(result)
    return {
        "strongest": strongest(result, row) if row else "",
        "budget_curve": budget_curve(result),
        "offers": offers(result),
        "goals": lines,
        "sentence": in_a_sentence(result, lines),
        "stopping": stopping(result),
    }


def _lowering(result: Result) -> dict[str, object]:
    responses = showing_less(result)
    return {
        "responses": responses,
        "advice": advice(responses),
        "first_step": first_step(result, responses),
        "limit": fewer_answers(result),
        "untried": untried(result),
        "no_help": no_help(result),
    }


def _where(result: Result) -> dict[str, object]:
    detail = result.detail
    return {
        "classes": class_figures(result),
        "matrix": detail and matrix(result, detail),
        "confused": detail and confused(result, detail),
        "calibration": detail and calibration(detail),
    }


def _measured(result: Result) -> dict[str, object]:
    row = strongest_copy(result)
    return {
        "headline": headline(result),
        "references": references(result),
        "epoch_curve": epoch_curve(result),
        "copy": next(iter(trainings(result, row)), None) if row else None,
        "chosen": _chosen(result),
        "together": together(result),
        "csv": as_csv(result),
    }


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
        _recipe(cell.selection.winner) for cell in copy_cells(result) if cell.selection
    )
    return ", ".join(f"{name} {count}" for name, count in choices.most_common())
