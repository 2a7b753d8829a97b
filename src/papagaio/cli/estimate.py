"""`papagaio estimate`: what an audit would find, foretold from a small sample."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from papagaio.cli.options import command
from papagaio.cli.printing import AsJson, print_json
from papagaio.numbers import money, with_interval
from papagaio.settings import EstimateOptions

if TYPE_CHECKING:
    from papagaio.auditing.estimating import Estimate, Prediction
    from papagaio.learning_curve import Needed

__all__ = ["estimate"]


def _estimate(options: EstimateOptions, as_json: AsJson = False) -> None:
    """Foretell what an audit would find, before its budget is paid for.

    For example: papagaio estimate model.onnx --transfer photos --test my_test_images --sample 500
    --budget 5000 --price-per-1000 5

    Queries a sample, trains small copies from parts of it, and tells with a band what copies from
    the whole budget would reach, up to ten times the sample, and what they cost. The audit does not
    pay for these answers again.
    """
    from papagaio.auditing.estimating import estimate as run
    from papagaio.cli.progress import show_progress

    with show_progress() as progress:
        found = run(options, progress)
    if as_json:
        print_json(found)
        return
    for line in _lines(found, options):
        typer.echo(line)


def _lines(found: "Estimate", options: EstimateOptions) -> Iterator[str]:
    for one in found.predictions:
        yield f"copies\t{one.student}, {one.recipe}, from {one.response}"
        yield from _prediction_lines(one, found)
    yield (
        f"asked about\t{found.sample:,} transfer and {found.tested:,} test images; "
        f"{found.sent:,} were sent now, canaries included"
    )
    yield f"kept in\t{options.ledger}"
    yield f"report\t{options.out / 'report.html'}"
    price = "" if found.price is None else f" and costs {money(found.price)}"
    seconds = found.query_seconds
    takes = "has no known duration" if seconds is None else f"takes about {seconds:,.0f} s"
    yield f"budget\tquerying {found.budget:,} images {takes}{price}"
    if found.budget < found.wanted:
        yield (
            f"not told\twhat {found.wanted:,} answers give: that is more than ten times the "
            "sample; raise --sample"
        )


def _prediction_lines(one: "Prediction", found: "Estimate") -> Iterator[str]:
    answers = f"{found.budget:,} answers"
    fidelity = with_interval(one.fidelity)
    yield f"expected fidelity\t{fidelity} of images like the test set's, from {answers}"
    if one.relative_accuracy:
        yield f"expected accuracy\t{with_interval(one.relative_accuracy)} of the black box's"
    for goal, needed in one.needed.items():
        yield f"fidelity goal {goal:.2f}\t{_needed(needed, one)}"
    for title, points in (("test", one.measured), ("held-out transfer", one.held_out)):
        for point in points:
            yield (
                f"from {point.budget:,} answers\tfidelity {with_interval(point.figure)} on "
                f"{point.figure.n:,} {title} images"
            )
    seconds = f"{one.training_seconds:,.0f} s"
    yield f"training\ta copy from {answers} takes at most about {seconds}"


def _needed(needed: "Needed | None", one: "Prediction") -> str:
    farthest = f"more than {one.farthest:,}"
    if needed is None:
        return f"needs {farthest} answers"
    if needed.at_most and needed.value is not None:
        return f"needs at most {needed.value:,} answers"
    value = farthest if needed.value is None else f"about {needed.value:,}"
    high = farthest if needed.high is None else f"{needed.high:,}"
    return f"needs {value} answers ({needed.low:,} to {high})"


estimate = command(EstimateOptions, _estimate)
