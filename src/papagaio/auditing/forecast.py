"""What an audit would ask and train, counted before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from papagaio.asking import answered_before, queries_missing, question_for
from papagaio.auditing.plan import AuditImages
from papagaio.auditing.preparing import prepare
from papagaio.blackboxes.contract import BlackBox
from papagaio.canaries import requests_of
from papagaio.controls import Purpose
from papagaio.ledger import Totals, snapshot
from papagaio.numbers import money
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
        is_first: whether there is no ledger yet.
    """

    options: AuditOptions
    queries: Mapping[Purpose, int]
    total: int
    canaries: int
    trainings: int
    others: tuple[Totals, ...]
    is_first: bool

    def __str__(self) -> str:
        lines = [f"queries to send about {p} images: {n}" for p, n in self.queries.items()]
        lines.append(f"test images to send again, as canaries: {self.canaries}")
        lines.append(f"queries to send in all: {self.total + self.canaries}")
        price = self.options.price_of(self.total + self.canaries)
        lines += [] if price is None else [f"price of these queries: {money(price)}"]
        lines.append(f"trainings: {self.trainings}")
        if self.options.until is not None:
            lines.append(
                "with until, asking may stop earlier; rounds train copies and send canaries, too"
            )
        if self.is_first:
            lines.append(f"a ledger will be created: {self.options.ledger_path}")
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
    plan = prepared.plan
    with snapshot(options.ledger_path) as ledger:
        digests = {purpose: plan.images[purpose].digests for purpose in plan.queried}
        missing = {p: queries_missing(box, rows, ledger) for p, rows in digests.items()}
        # What remains after the sets before it: an image of two sets is sent once.
        so_far = [np.concatenate([*digests.values()][:n]) for n in range(1, len(digests) + 1)]
        totals = [queries_missing(box, rows, ledger) for rows in so_far]
        # The test set has canaries where a part of it was answered before.
        first = totals[:1] if len(answered_before(box, digests["test"], ledger)) else []
        held = ledger.totals()
    asked = [np.arange(more) for more in (*first, *np.diff(totals))]
    requests = [one for rows in asked for one in requests_of(rows, box.contract.batch, len(rows))]
    trainings = len(plan.trainings) + plan.students
    canaries = sum(len(request.known) for request in requests)
    others = tuple(one for one in held if one.question.box != question_for(box).box)
    return Forecast(
        prepared.options,
        missing,
        totals[-1],
        canaries,
        trainings,
        others,
        not options.ledger_path.exists(),
    )
