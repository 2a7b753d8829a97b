"""What could make a result meaningless, said before anything else."""

from papagaio.report.headline import at_the_floor, headline_row
from papagaio.report.numbers import count, plural
from papagaio.result import Result

__all__ = ["cautions"]

_FEW_IMAGES = 100


def cautions(result: Result) -> list[str]:
    """The warnings that apply, the gravest first; none where all is well."""
    every = (
        _incomplete,
        _black_box_is_wrong,
        _near_duplicates,
        _one_seed,
        _at_the_floor,
        _interrupted,
        _few_images,
    )
    return [said for caution in every if (said := caution(result))]


def _incomplete(result: Result) -> str:
    if result.complete:
        return ""
    return (
        "The run is incomplete: trainings are missing, and what stands here may change."
        " The same command goes on where it stopped."
    )


def _black_box_is_wrong(result: Result) -> str:
    box = result.black_box
    if box.classes == 2 or box.accuracy.value > 2 / box.classes:
        return ""
    return (
        "The black box itself is hardly ever right: its classes may stand in another order than the"
        " test set\u2019s (a folder\u2019s sub-folders count in the order of their names)."
    )


def _near_duplicates(result: Result) -> str:
    found = result.test.near_duplicates
    if not found:
        return ""
    return (
        f"{count(found)} of {plural(result.test.images, 'test image')} stand nearly the same in"
        " the transfer set: the copy is tested on what it may have learned by heart."
    )


def _one_seed(result: Result) -> str:
    row = headline_row(result)
    if row is None or row.seeds != 1:
        return ""
    return (
        "Only one seed: the intervals tell how much the choice of test images matters,"
        " and nothing about the luck of a training."
    )


def _at_the_floor(result: Result) -> str:
    if not at_the_floor(result):
        return ""
    return (
        "The copy is not above the floor: a student of shuffled answers, or of answers about pure"
        " noise, may reach as much."
    )


def _interrupted(result: Result) -> str:
    lost = result.queries.interrupted
    if not lost:
        return ""
    return (
        f"{plural(lost, 'image')} went out in requests that never returned: where these were"
        " charged, the images are paid for twice."
    )


def _few_images(result: Result) -> str:
    if result.test.images >= _FEW_IMAGES:
        return ""
    return (
        f"The test set is small ({plural(result.test.images, 'image')}): the intervals are wide,"
        " and what is rare in use may be absent from it."
    )
