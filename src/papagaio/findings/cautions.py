"""What could make a result misleading, stated before anything else."""

from collections.abc import Iterator
from itertools import chain

from papagaio.canaries import tolerated
from papagaio.findings.copies import copy_cells, trainings
from papagaio.findings.references import highest
from papagaio.findings.strongest import at_the_floor, black_box_fault, strongest_copy
from papagaio.numbers import count, listing, percent, plural
from papagaio.result import CellRecord, Result, SummaryRow

__all__ = ["cautions"]

_FEW_IMAGES = 100
# Two classes named on more than this share of the transfer set, or this share of the classes never
# named, leave most of a black box's decisions unasked.
_TWO_CLASSES = 0.8
_NEVER_NAMED = 0.1


def cautions(result: Result) -> list[str]:
    """The cautions that apply, the most serious first."""
    groups = (_black_box, _run, _copies, _transfer_set, _test_set)
    return list(chain.from_iterable(group(result) for group in groups))


def _black_box(result: Result) -> Iterator[str]:
    if fault := black_box_fault(result):
        yield (
            f"{fault[0].upper()}{fault[1:]}: it is probably used in the wrong way. The usual causes"
            " are the scale of the pixels (0 to 1 or 0 to 255), the order of the colours (RGB or"
            " BGR), and the order of the classes (the folders of the test set may be in another"
            " order than the classes of the black box)."
        )
    if result.unchecked:
        yield (
            "The black box failed the check on the test set, and the audit was told to continue"
            " anyway."
        )


def _run(result: Result) -> Iterator[str]:
    if result.missing:
        yield (
            f"The run is incomplete, and what is shown here may change. Trainings missing:"
            f" {count(result.missing)} of {count(result.trainings)}. The same command continues the"
            " run."
        )
    if result.diverged:
        ids = listing([one.id for one in result.diverged])
        yield (
            f"Trainings that diverged and have no scores: {count(len(result.diverged))} of"
            f" {count(result.trainings)} ({ids}). Means are over the other seeds."
        )
    if lost := result.queries.interrupted:
        yield (
            f"Images sent again because a request never returned: {count(lost)}. If the black box"
            " charged for that request, they were paid for twice."
        )
    box, change = result.black_box, result.queries.change
    if change and change > tolerated(box.response, box.resolution):
        yield (
            "The black box does not answer the same image always in the same way: scores of"
            f" {plural(result.queries.canaries, 'test image')} that were sent again changed by up"
            f" to {change:.3f}. It adds noise, or its model changed."
        )


def _copies(result: Result) -> Iterator[str]:
    row, floor = strongest_copy(result), highest(result, "floor")
    if row is None:
        return
    if floor and at_the_floor(result):
        yield (
            "The copy is no better than a floor: the student of the control"
            f" \u201c{floor.name}\u201d may reach as much, or more."
        )
    copies = copy_cells(result)
    if short := [cell for cell in copies if cell.undertrained]:
        whose = ", the headline\u2019s among them" if _any(short, trainings(result, row)) else ""
        yield (
            f"Undertrained copies: {count(len(short))} of {count(len(copies))}{whose}."
            f" {_shortest(short)} A full training gives a better copy, so these figures understate"
            " the risk."
        )
    if row.seeds == 1:
        yield (
            "Only one seed: the intervals show how much depends on the choice of test images, but"
            " not how much a second training would differ."
        )
    yield from _more_together(result, row)


def _more_together(result: Result, row: SummaryRow) -> Iterator[str]:
    reached = [("copies that answer together", one.scores.fidelity) for one in result.ensembles]
    reached += [
        ("a student distilled from copies", one.fidelity)
        for one in result.summary
        if one.kind == "distilled"
    ]
    border = row.fidelity.high if row.fidelity else 0.0
    above = [(one.value, who) for who, one in reached if one and one.value > border]
    if above:
        value, who = max(above)
        yield (
            f"The same answers give {who} a fidelity of {percent(value)}, above the interval of the"
            " copy that decides. The verdict and the rules of a gate are about copies alone: they"
            " understate the risk."
        )


def _transfer_set(result: Result) -> Iterator[str]:
    named = sorted(result.named, key=lambda one: -one.images)
    total = sum(one.images for one in named)
    never = [one.name for one in named if not one.images]
    asked = []
    if len(named) > 2 and sum(one.images for one in named[:2]) > _TWO_CLASSES * total:
        most = [one for one in named[:2] if one.images]
        share = sum(one.images for one in most) / total
        which = "one class" if len(most) == 1 else "two classes"
        asked.append(
            f"names {which} ({listing([one.name for one in most])}) on {percent(share)} of the"
            " transfer images"
        )
    # Of two classes, a single one that is never named is half of them.
    if total and never and len(never) >= min(len(named) - 1, max(2, _NEVER_NAMED * len(named))):
        asked.append(
            f"never names {count(len(never))} of its {count(len(named))} classes ({listing(never)})"
        )
    if asked:
        yield (
            f"On the transfer set, the black box {' and '.join(asked)}: these images reveal"
            " little of what it knows, so a low fidelity says little about safety. Other images may"
            " give a much better copy."
        )
    if broken := result.transfer.broken:
        yield (
            "Files of the transfer set that could not be decoded and were replaced:"
            f" {count(len(broken))} ({listing(broken)})."
        )


def _test_set(result: Result) -> Iterator[str]:
    if alike := result.test.near_duplicates:
        yield (
            f"Test images that look almost the same as a transfer image: {count(alike)} of"
            f" {count(result.test.images)}. If they show the same thing, the copy is tested on"
            " images that it learned from. Simple drawings can look alike and still differ."
        )
    if result.test.images < _FEW_IMAGES:
        yield (
            f"The test set is small ({plural(result.test.images, 'image')}): the intervals are"
            " wide, and cases that are rare in use may be missing from it."
        )


def _any(some: list[CellRecord], others: list[CellRecord]) -> bool:
    return bool({cell.id for cell in some} & {cell.id for cell in others})


def _shortest(cells: list[CellRecord]) -> str:
    shortest = min(cells, key=lambda cell: cell.epochs / cell.recipe_epochs)
    sentence = (
        f"The shortest training had {count(shortest.epochs)} of its recipe\u2019s"
        f" {plural(shortest.recipe_epochs, 'epoch')}."
    )
    last = [cell.curve[-1].distillation_accuracy for cell in cells if cell.curve]
    if not last:
        return sentence
    return f"{sentence} The lowest distillation accuracy in a last epoch is {percent(min(last))}."
