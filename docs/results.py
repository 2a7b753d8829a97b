"""Write the tables and verdicts of the thesis's pages from the stored results.

    python docs/results.py

A page encloses generated text in `<!-- from results: NAME -->` and `<!-- end -->`. The numbers come
from the results in `thesis/`; `tests/test_docs.py` fails when a page is stale.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from papagaio.numbers import duration
from papagaio_thesis.claims import Claim, claims
from papagaio_thesis.digits import ANGULAR, ROUND
from papagaio_thesis.records import DigitRecord, ThesisResult, TrialRecord, read_thesis
from papagaio_thesis.tables import cells, number, tables, to_markdown
from papagaio_thesis.tables_of_readings import readings_to_markdown

__all__ = ["blocks", "refreshed"]

DOCS = Path(__file__).parent

# With a teacher as in the thesis, and with a stand-in for it. From ImageNet weights: MobileNetV2.
RESULTS = ("full", "full-imagenet", "small", "stand-in-full", "stand-in-small")

_BLOCK = re.compile(r"(<!-- from results: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


@cache
def blocks() -> dict[str, str]:
    """Generated Markdown by block name."""
    results = {name: read_thesis(DOCS / "thesis" / f"{name}.json") for name in RESULTS}
    full, small = results["full"], results["small"]
    readings = read_thesis(DOCS / "thesis" / "readings-reduced.json")
    stand_in_full, stand_in_small = results["stand-in-full"], results["stand-in-small"]
    return {
        "summary": _summary(full, small),
        "stand-in summary": _summary(stand_in_full, stand_in_small),
        "verdicts": _verdicts("thesis/claims.md", {"verdict": small}),
        "stand-in verdicts": _verdicts(
            "", {"small scale": stand_in_small, "in full": stand_in_full}
        ),
        **{name: text for scale in RESULTS for name, text in _tables(scale, results[scale])},
        **{
            f"claim {claim.name} {scale}": _claim(claim)
            for scale in ("small", "stand-in-small")
            for claim in claims(results[scale])
        },
        **{
            f"trainings {scale}": _trainings(result.trials)
            for scale, result in results.items()
            if result.trials
        },
        "epochs": _epochs(small.trials),
        "magnified": _magnified(
            {
                "in full": full,
                "in full from ImageNet weights": results["full-imagenet"],
                "small scale": small,
            }
        ),
        "stand-in magnified": _magnified({"in full": stand_in_full, "small scale": stand_in_small}),
        "digits": _digits(stand_in_small.digits),
        "readings": readings_to_markdown(readings).strip(),
    }


def refreshed(page: str) -> str:
    """A page with all its blocks as the results have them.

    Raises:
        KeyError: the page names a block that does not exist.
    """
    generated = blocks()
    return _BLOCK.sub(lambda block: f"{block[1]}\n{generated[block[2]]}\n\n{block[3]}", page)


def _summary(full: ThesisResult, small: ThesisResult) -> str:
    """The last epoch of every table: in full where it was run in full, else at small scale."""
    lines = [["table", "", "thesis", "measured", "95 % interval", "difference"], ["---"] * 6]
    for in_full, in_small in zip(tables(full), tables(small), strict=True):
        table, scale = (in_full, "in full")
        if not all(row.measured for row in in_full.rows):
            table, scale = in_small, "**small scale**"
        name = f"{table.number}, {table.title}, {scale}"
        last = max(row.thesis.epoch or 0 for row in table.rows)
        for row, (part, metric, _, *numbers) in zip(table.rows, cells(table), strict=True):
            if (row.thesis.epoch or 0) == last:
                lines.append([name, f"{part} {metric}", *numbers[:4]])
                name = ""
    return _markdown(lines)


def _tables(scale: str, result: ThesisResult) -> Iterator[tuple[str, str]]:
    """Every table for which something was measured."""
    for table in tables(result):
        if any(row.measured for row in table.rows):
            yield f"table {table.number} {scale}", to_markdown(table).strip()


def _verdicts(page: str, by_column: Mapping[str, ThesisResult]) -> str:
    lines = [["claim", "", *by_column], ["---"] * (len(by_column) + 2)]
    for same in zip(*map(claims, by_column.values()), strict=True):
        name = same[0].name
        link = f"[{name}]({page}#{name.lower()})"
        lines.append([link, same[0].says, *(claim.verdict for claim in same)])
    return _markdown(lines)


def _claim(claim: Claim) -> str:
    return f"**{claim.says}** *{claim.verdict}.* {claim.text}"


def _trainings(trials: Sequence[TrialRecord]) -> str:
    header = ["study", "variant", "architecture", "start", "recipe", "images", "epochs", "seed"]
    header += ["accuracy, test", "loss, test", "fidelity, test", "duration"]
    rows = [
        [
            *(trial.study, trial.variant, trial.body, trial.initial, trial.recipe),
            *(f"{trial.images:,}", str(len(trial.curve)), str(trial.seed)),
            *(f"{test.accuracy:.3f}", f"{test.loss:.3g}", f"{test.fidelity:.3f}"),
            duration(trial.seconds),
        ]
        for trial in trials
        for test in [trial.at("test")]
    ]
    return _markdown([header, ["---"] * len(header), *rows])


def _epochs(trials: Sequence[TrialRecord]) -> str:
    """What the first test images show of VGG16 after every epoch of experiments 1 and 2."""
    header = ["experiment", "epoch", "loss", "accuracy", "share of the ten worst images"]
    header += ["largest logit", "largest logit reached"]
    rows = [
        [
            *(trial.study, str(epoch), number(one.probe_loss), f"{one.probe_accuracy:.2f}"),
            *(f"{one.probe_worst_ten:.1%}", f"{one.probe_logit:.1f}", f"{one.reach:.0f}"),
        ]
        for trial in trials
        if trial.study in {"experiment 1", "experiment 2"} and trial.variant == "thesis"
        for epoch, one in enumerate(trial.curve, 1)
    ]
    return _markdown([header, ["---"] * len(header), *rows])


def _magnified(results: Mapping[str, ThesisResult]) -> str:
    """Loss (accuracy) of every student by the factor between images and activations."""
    factors = [look.factor for look in next(iter(results.values())).magnified[0].as_trained]
    header = ["student", "activations", *(f"{factor:,.0f} times" for factor in factors)]
    rows = [
        [f"{one.study}, {one.variant} ({one.body.rpartition('/')[2]}), {scale}", activations]
        + [f"{number(look.loss)} ({look.accuracy:.2f})" for look in looks]
        for scale, result in results.items()
        for one in result.magnified
        for activations, looks in (("as trained", one.as_trained), ("bounded", one.bounded))
    ]
    return _markdown([header, ["---"] * len(header), *rows])


def _digits(records: Sequence[DigitRecord]) -> str:
    """Mean accuracy over seeds of the copies from each kind of letters."""
    lines = [["recipe", "letters", "round digits", "angular digits", "all digits"], ["---"] * 5]
    for recipe, letters in sorted({(one.recipe, one.letters) for one in records}):
        same = [one for one in records if (one.recipe, one.letters) == (recipe, letters)]
        by_digit = np.mean([one.per_digit for one in same], axis=0)
        values = (by_digit[list(ROUND)].mean(), by_digit[list(ANGULAR)].mean())
        accuracy = np.mean([one.accuracy for one in same])
        lines.append([recipe, letters, *(f"{value:.3f}" for value in (*values, accuracy))])
    return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := refreshed(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path}")
