"""What an audit would ask and train, counted before it begins."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from papagaio.asking import queries_missing, question_for
from papagaio.auditing.plan import AuditImages
from papagaio.auditing.preparing import prepare
from papagaio.blackboxes.contract import BlackBox
from papagaio.canaries import requests_of
from papagaio.controls import Purpose
from papagaio.ledger import Ledger, Totals
from papagaio.options import to_toml
from papagaio.progress import Progress, no_progress
from papagaio.settings import AuditOptions

__all__ = ["Forecast", "forecast"]


@dataclass(frozen=True)
class Forecast:
    """What an audit would do; its text is a configuration file with comments.

    Attributes:
        options: the resolved options.
        queries: images that are not answered yet, by purpose.
        total: their total, with an image that has two purposes counted once.
        canaries: test images that are sent again among the others.
        trainings: the number of trainings.
        others: what the ledger holds under other identities.
    """

    options: AuditOptions
    queries: Mapping[Purpose, int]
    total: int
    canaries: int
    trainings: int
    others: tuple[Totals, ...]

    def __str__(self) -> str:
        lines = [f"queries to send about {p} images: {n}" for p, n in self.queries.items()]
        lines.append(f"test images to send again, as canaries: {self.canaries}")
        lines.append(f"queries to send in all: {self.total + self.canaries}")
        price = self.options.price_of(self.total + self.canaries)
        lines += [] if price is None else [f"price of these queries: {price:,.2f}"]
        lines.append(f"trainings: {self.trainings}")
        lines += [
            f"the ledger also holds {other.answers} answers of another identity, "
            f"{other.question.box}; if that is this model, give it this identity"
            for other in self.others
        ]
        return to_toml(self.options) + "".join(f"# {line}\n" for line in lines)


def forecast(
    box: BlackBox, images: AuditImages, options: AuditOptions, progress: Progress = no_progress
) -> Forecast:
    """Count what `audit` would do, without sending a query or leaving a file behind.

    Raises:
        BadImages, BadSettings, BadLedger: as for `audit`.
    """
    prepared = prepare(box, images, options, None, progress)
    plan, path = prepared.plan, options.ledger_path
    with (
        tempfile.TemporaryDirectory() as scratch,
        Ledger(path if path.exists() else Path(scratch, "ledger")) as ledger,
    ):
        digests = {purpose: plan.images[purpose].digests for purpose in plan.queried}
        missing = {p: queries_missing(box, rows, ledger) for p, rows in digests.items()}
        total = queries_missing(box, np.concatenate([*digests.values()]), ledger)
        totals = ledger.totals()
    asked = [np.arange(missing[purpose]) for purpose in plan.queried[1:]]
    requests = [one for rows in asked for one in requests_of(rows, box.contract.batch, len(rows))]
    trainings = len(plan.trainings) + plan.students
    canaries = sum(len(request.known) for request in requests)
    others = tuple(one for one in totals if one.question.box != question_for(box).box)
    return Forecast(prepared.options, missing, total, canaries, trainings, others)
