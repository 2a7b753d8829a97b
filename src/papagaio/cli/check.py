"""`papagaio check`: is the black box used rightly, before an audit pays for answers?"""

from dataclasses import fields
from typing import TYPE_CHECKING

import typer

from papagaio.cli.options import command
from papagaio.cli.printing import AsJson, print_json
from papagaio.errors import BadAnswer
from papagaio.numbers import money, percent, with_interval
from papagaio.settings import CheckOptions, price_of

if TYPE_CHECKING:
    from papagaio.auditing.examining import Checked, Examination, Way

__all__ = ["check"]


def _check(options: CheckOptions, as_json: AsJson = False) -> None:
    """Find out whether a black box is used rightly, before an audit pays for answers.

    For example: papagaio check model.onnx --test my_test_images --write blackbox.toml, and then
    papagaio audit --config blackbox.toml --transfer photos --test my_test_images --budget 5000

    Sends some of the test images, tries on which scale and in which order of colours a model's file
    takes them, and says how often it is right, whether it repeats its answers, and how fast it is.
    The audit does not pay for these answers again.
    """
    from papagaio import files
    from papagaio.auditing.examining import check as run
    from papagaio.cli.progress import show_progress
    from papagaio.options import to_toml

    with show_progress() as progress:
        checked = run(options, progress)
    if as_json:
        print_json(_facts(checked))
    else:
        for way in checked.ways:
            typer.echo(_way_line(way))
        for line in _lines(checked.examination, options):
            typer.echo(line)
    if not checked.examination.works:
        raise BadAnswer(
            f"{options.black_box} is not better than always naming the most frequent class, or "
            "names almost only one. Check the order of the classes, the scale of pixels and the "
            "order of colours"
            + ("; what you leave out is tried" if checked.ways else "")
            + ". Its answers are kept: give a corrected black box another identity"
        )
    if options.write:
        files.write(options.write, to_toml(checked.options))
        if not as_json:
            typer.echo(f"written\t{options.write}")


def _facts(checked: "Checked") -> dict[str, object]:
    """What was found, as plain values; of the seconds of each request only their quantiles."""
    found = checked.examination
    facts = {one.name: getattr(found, one.name) for one in fields(found) if one.name != "seconds"}
    facts["seconds"] = {"median": found.quantile(0.5), "late": found.quantile(0.95)}
    return {"options": checked.options, "ways": checked.ways, "examination": facts}


def _way_line(way: "Way") -> str:
    declared = way.declared
    stated = {
        "scale": declared.scale,
        "colour-order": declared.colour_order,
        "layout": declared.layout,
    }
    words = ", ".join(f"{name} {value}" for name, value in stated.items() if value)
    return f"{words or 'as its file says'}\taccuracy {with_interval(way.accuracy)}"


def _lines(found: "Examination", options: CheckOptions) -> list[str]:
    from papagaio.canaries import tolerated  # imports NumPy

    tolerance = tolerated(found.response, found.resolution)
    median, late = (found.quantile(q) * 1000 for q in (0.5, 0.95))
    lines = [
        f"accuracy\t{with_interval(found.accuracy)} on {found.accuracy.n:,} test images",
        f"most frequent class\t{percent(found.majority.value)} of them",
        f"shows\t{_form(found)}",
        f"never named\t{', '.join(map(str, found.never_named)) or 'no class'}",
        f"asked again\t{_difference(found.asked_again, tolerance)}",
        f"in other requests\t{_difference(found.in_other_requests, tolerance)}",
        f"sent\t{found.sent:,} images, {found.sent_again} of them again",
        f"known before\t{found.known:,} answers",
        f"kept in\t{options.ledger}",
        f"images per second\t{found.images_per_second:,.0f}",
        (
            f"milliseconds per request\t{median:.0f} (median), {late:.0f} (95 %), "
            f"{found.per_request} images each, one request at a time"
        ),
    ]
    if options.budget:
        seconds = options.budget / found.images_per_second
        price = price_of(options.budget, options.price_per_1000)
        costs = "" if price is None else f" and costs {money(price)}"
        lines.append(f"budget\tquerying {options.budget:,} images takes {seconds:,.0f} s{costs}")
    return lines


def _form(found: "Examination") -> str:
    from papagaio.responses import shown_form, shown_step  # imports NumPy

    form = shown_form(found.response, found.resolution)
    missing = [f"--shows {found.response}"] if found.response != "probabilities" else []
    missing += [f"--resolution {shown_step(found.resolution)}"] if found.resolution else []
    return f"{form}; an audit needs {' '.join(missing)}" if found.recognised and missing else form


def _difference(change: float | None, tolerance: float) -> str:
    if change is None:
        return "not tried: a request holds one image"
    if change < 1e-4:
        return "the same answers"
    words = f"scores change by up to {change:.4f}"
    return (
        words if change <= tolerance else f"{words}: an audit may stop, unless --unchecked is given"
    )


check = command(CheckOptions, _check)
