"""The ledger: every answer paid for, in SQLite. One process at a time writes it."""

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.errors import BadLedger, NoSpace
from papagaio.images.imageset import as_keys
from papagaio.ledger_schema import connect, copy, is_full

__all__ = ["Ledger", "Question", "SentRequest", "Totals", "snapshot"]

_SEAL_TAG = b"papagaio-answer-1"
_DIGEST = 32  # bytes of a SHA-256

# The answers to one question. Answers first: there are no more of them than requests.
_ANSWERED = (
    "FROM answers CROSS JOIN requests ON number = request "
    "WHERE box = ? AND response = ? AND draw = ?"
)

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """Identifies answers: by black box, response form and number of the draw."""

    box: str
    response: str
    draw: int = 0


@dataclass(frozen=True)
class Totals:
    """What a ledger holds for one question.

    Attributes:
        answers: answers paid for.
        requests: requests answered.
        interrupted: images of requests that were sent and never answered: possibly paid for.
        first, last: when the first and the last request was sent (UTC, ISO 8601).
        canaries: images whose answers were known and that were answered again.
    """

    question: Question
    answers: int
    requests: int
    interrupted: int
    first: str
    last: str
    canaries: int = 0


@dataclass(frozen=True)
class SentRequest:
    """A request as a ledger holds it.

    Attributes:
        question: what was asked.
        images: the number of its images.
        canaries: how many of them are canaries.
        sent, answered: when (UTC, ISO 8601); None: it was interrupted.
        change: the largest change of a score of a canary; None without canaries.
        digests: uint8 (N, 32), the images that are answered; canaries are not among them.
        scores: float32 (N, K), their answers.
    """

    question: Question
    images: int
    canaries: int
    sent: str
    answered: str | None
    change: float | None
    digests: NDArray[np.uint8]
    scores: Scores


class Ledger:
    """An open ledger. Use it as a context manager; it holds the file for this process alone."""

    def __init__(self, path: Path) -> None:
        """Open a ledger, or create one.

        Raises:
            BadLedger: the file is not a ledger, or one of a newer version.
            Busy: another process works on it.
        """
        self.path = path
        with ExitStack() as opened:
            opened.enter_context(files.lock(path.with_name(f"{path.name}.lock")))
            self._db = connect(path)
            opened.callback(self._db.close)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def note_request(self, question: Question, images: int, canaries: int = 0) -> int:
        """Record that a request is about to be sent; returns its number.

        Args:
            question: what is asked.
            images: the number of its images.
            canaries: how many of them are canaries.
        """
        with self._transaction():
            return self._insert_request(question, images, canaries, _now())

    def note_answers(
        self,
        question: Question,
        request: int,
        digests: NDArray[np.uint8],
        scores: Scores,
        changes: Sequence[float] = (),
    ) -> None:
        """Record a request's answers, all or none.

        Args:
            question: whose answers, as in `note_request`.
            request: the request's number.
            digests: uint8 (N, 32), the images in the order of the answers, without canaries.
            scores: float32 (N, K).
            changes: the largest change of a score of each canary.
        """
        with self._transaction():
            self._insert_answers(question, request, digests, scores)
            self._note_answered(request, _now(), max(changes, default=None))

    def missing(self, question: Question, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Rows (int64) of `digests` (uint8, N x 32) that have no answer yet."""
        return np.flatnonzero(_places(self._keys(question), digests) < 0).astype(np.int64)

    def read(self, question: Question, digests: NDArray[np.uint8]) -> Scores:
        """The answers to the images of `digests` (uint8, N x 32), as float32 (N, K), in order.

        Raises:
            BadLedger: one of them was never answered.
        """
        keys = self._keys(question)
        places = _places(keys, digests)
        if (places < 0).any():
            count = int((places < 0).sum())
            raise BadLedger(f"{self.path}: {count} of {len(digests)} images have no answer yet")
        scores = np.frombuffer(self._joined(question, "scores"), "<f4")
        # Without an answer the number of classes is not known.
        return scores.reshape(len(keys), -1 if len(keys) else 0)[places].astype(np.float32)

    def classes(self, question: Question) -> int | None:
        """How many scores the answers to the question have; None where there is none yet."""
        counts = self._rows(
            f"SELECT length(scores) * 8 / length(digests) {_ANSWERED} AND length(digests) LIMIT 1",
            *astuple(question),
        )
        return next((int(count) for (count,) in counts), None)

    def requests(self, question: Question) -> list[SentRequest]:
        """Every request about a question: those that were answered, then the interrupted ones."""
        answered = self._rows(
            f"SELECT number, images, canaries, sent, answered, change, digests, scores {_ANSWERED} "
            "ORDER BY answers.rowid",
            *astuple(question),
        )
        interrupted = self._rows(
            "SELECT number, images, canaries, sent, answered, change, x'', x'' FROM requests "
            "WHERE box = ? AND response = ? AND draw = ? AND answered IS NULL ORDER BY number",
            *astuple(question),
        )
        requests = []
        for (_, *known), parts in groupby(chain(answered, interrupted), lambda row: row[:6]):
            images, canaries, sent, when, change = known
            blobs = zip(*(row[6:] for row in parts), strict=True)
            digests, scores = (b"".join(column) for column in blobs)
            rows = np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST)
            values = np.frombuffer(scores, "<f4").reshape(len(rows), -1 if len(rows) else 0)
            requests.append(
                SentRequest(question, images, canaries, sent, when, change, rows, values)
            )
        return requests

    def add(self, requests: Iterable[SentRequest]) -> None:
        """Record requests of another ledger, with their answers; all or none."""
        with self._transaction():
            for request in requests:
                asked = request.question
                number = self._insert_request(asked, request.images, request.canaries, request.sent)
                if request.answered:
                    self._insert_answers(asked, number, request.digests, request.scores)
                    self._note_answered(number, request.answered, request.change)

    def restate(self, question: Question, response: str) -> None:
        """Keep what was asked under another response from now on, unless some is kept there."""
        other = replace(question, response=response)
        if response == question.response or self.classes(other):
            return
        answers = [
            *self._rows(f"SELECT answers.rowid, digests, scores {_ANSWERED}", *astuple(question))
        ]
        with self._transaction():
            for row, digests, scores in answers:
                seals = b"".join(_seals(other, digests, scores))
                self._db.execute("UPDATE answers SET seals = ? WHERE rowid = ?", (seals, row))
            self._db.execute(
                "UPDATE requests SET response = ? WHERE box = ? AND response = ? AND draw = ?",
                (response, *astuple(question)),
            )

    def totals(self) -> list[Totals]:
        """What the ledger holds, one row per question, oldest first."""
        rows = self._rows(
            """
            SELECT box, response, draw,
                   coalesce(sum(images - canaries) FILTER (WHERE answered IS NOT NULL), 0),
                   count(answered),
                   coalesce(sum(images) FILTER (WHERE answered IS NULL), 0),
                   min(sent), max(sent),
                   coalesce(sum(canaries) FILTER (WHERE answered IS NOT NULL), 0)
            FROM requests GROUP BY box, response, draw ORDER BY min(number)
            """
        )
        return [Totals(Question(*row[:3]), *row[3:]) for row in rows]

    def seconds_asked(self, question: Question) -> float:
        """How long at least one answered request of a question was on the way, in seconds."""
        rows = self._rows(
            "SELECT julianday(sent) * 86400.0, julianday(answered) * 86400.0 FROM requests"
            " WHERE box = ? AND response = ? AND draw = ? AND answered IS NOT NULL ORDER BY sent",
            *astuple(question),
        )
        total = until = 0.0
        for sent, answered in rows:
            total += max(0.0, answered - max(sent, until))
            until = max(until, answered)
        return total

    def canaries(self, question: Question, since: str) -> tuple[int, float | None]:
        """How many canaries were answered since a time (UTC, ISO 8601), and the largest change."""
        ((count, change),) = self._rows(
            "SELECT coalesce(sum(canaries), 0), max(change) FROM requests WHERE box = ? "
            "AND response = ? AND draw = ? AND answered IS NOT NULL AND sent >= ?",
            *astuple(question),
            since,
        )
        return int(count), change

    def problems(self) -> Iterator[str]:
        """Every contradiction, in words; nothing if the ledger is sound."""
        try:
            yield from self._damages()
            yield from self._broken_answers()
            yield from self._miscounts()
            yield from self._repetitions()
        except (sqlite3.DatabaseError, BadLedger) as error:
            yield f"it cannot be read completely ({error})"

    def _damages(self) -> Iterator[str]:
        for (line,) in self._db.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield str(line)
        for line, *_ in self._db.execute("PRAGMA foreign_key_check"):
            yield f"{line}: a row refers to a missing request"

    def _miscounts(self) -> Iterator[str]:
        counts = self._db.execute(
            """
            SELECT number, images - canaries, answered IS NOT NULL, coalesce(count, 0)
            FROM requests LEFT JOIN (
                SELECT request, sum(length(digests)) / 32 AS count FROM answers GROUP BY request
            ) ON request = number
            WHERE coalesce(count, 0) != iif(answered IS NULL, 0, images - canaries)
            """
        )
        for number, images, answered, stored in counts:
            state = "answered" if answered else "interrupted"
            yield f"request {number} ({state}): {images} images were sent, {stored} are answered"

    def _broken_answers(self) -> Iterator[str]:
        rows = self._db.execute(
            "SELECT number, box, response, draw, digests, scores, seals "
            "FROM answers CROSS JOIN requests ON number = request WHERE length(digests)"
        )
        for number, *key, digests, scores, seals in rows:
            count = len(digests) // _DIGEST
            if len(seals) != len(digests) or len(digests) % _DIGEST or len(scores) % (4 * count):
                yield f"request {number}: a part of its answers is missing"
                continue
            finite = np.isfinite(np.frombuffer(scores, "<f4").reshape(count, -1)).all(1)
            for row, seal in enumerate(_seals(Question(*key), digests, scores)):
                at = slice(row * _DIGEST, (row + 1) * _DIGEST)
                image = digests[at].hex()[:16]
                if seal != seals[at]:
                    yield f"answer to image {image}: its seal does not match; it was changed"
                elif not finite[row]:
                    yield f"answer to image {image}: a score is not finite"

    def _repetitions(self) -> Iterator[str]:
        for totals in self.totals():
            keys = np.sort(self._keys(totals.question))
            for key in keys[1:][keys[1:] == keys[:-1]].tolist():
                image = key.ljust(_DIGEST, b"\0").hex()[:16]  # NumPy leaves out zeros at the end
                yield f"image {image} is answered twice for {totals.question.box}"

    def _keys(self, question: Question) -> NDArray[np.bytes_]:
        """The images that are answered, in the order of their answers."""
        return np.frombuffer(self._joined(question, "digests"), "S32")

    def _joined(self, question: Question, column: Literal["digests", "scores"]) -> bytearray:
        joined = bytearray()
        for (part,) in self._rows(
            f"SELECT {column} {_ANSWERED} ORDER BY answers.rowid", *astuple(question)
        ):
            joined += part
        return joined

    def _insert_request(self, question: Question, images: int, canaries: int, sent: str) -> int:
        number = self._db.execute(
            "INSERT INTO requests (box, response, draw, images, canaries, sent) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (*astuple(question), images, canaries, sent),
        ).lastrowid
        assert number is not None  # noqa: S101  # an INSERT has just succeeded
        return number

    def _insert_answers(
        self, question: Question, request: int, digests: NDArray[np.uint8], scores: Scores
    ) -> None:
        images, values = digests.tobytes(), scores.astype("<f4").tobytes()
        seals = b"".join(_seals(question, images, values))
        self._db.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?)", (request, images, values, seals)
        )

    def _note_answered(self, request: int, when: str, change: float | None) -> None:
        self._db.execute(
            "UPDATE requests SET answered = ?, change = ? WHERE number = ?", (when, change, request)
        )

    def _rows(self, sql: str, *values: str | int) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise BadLedger(
                f"{self.path}: damaged ({error}); see papagaio ledger verify"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._db:  # commits, or rolls back whatever went wrong
                self._db.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.DatabaseError as error:
            if is_full(error):
                raise NoSpace(
                    f"{self.path}: no space left on the disk; answers paid so far are kept, "
                    "free some space and run the same command again"
                ) from error
            raise


@contextmanager
def snapshot(path: Path) -> Iterator[Ledger]:
    """A ledger as it is now, empty if there is no such file; another process may be writing it.

    The file stays as it is, whatever its age.

    Raises:
        BadLedger: the file is not a ledger, or one of a newer version.
        NoSpace: there is no room for the copy.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copied = Path(scratch, path.name)
        if path.exists():
            copy(path, copied)
        with Ledger(copied) as ledger:
            ledger.path = path
            yield ledger


def _places(keys: NDArray[np.bytes_], digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The place of each digest (uint8, N x 32) among the keys, or -1."""
    places = np.full(len(digests), -1, np.int64)
    wanted = as_keys(digests)
    order, by_key = np.argsort(keys, kind="stable"), np.argsort(wanted)
    if not len(keys):
        return places
    # Neighbours are looked up one after the other: in any other order, a million wait for memory.
    in_order, looked_up = keys[order], wanted[by_key]
    at = np.minimum(np.searchsorted(in_order, looked_up), len(keys) - 1)
    found = in_order[at] == looked_up
    places[by_key[found]] = order[at[found]]
    return places


def _seals(question: Question, digests: bytes, scores: bytes) -> Iterator[bytes]:
    """The seal of each answer: SHA-256 of box, response, draw, image, scores, each with its size.

    Args:
        question: whose answers.
        digests: 32 bytes of each image, one after the other.
        scores: of each image, the same number of bytes.
    """
    count = len(digests) // _DIGEST
    size = len(scores) // max(count, 1)
    key = [str(part).encode() for part in astuple(question)]
    before = _SEAL_TAG + b"".join(map(_sized, key)) + _size(_DIGEST)
    between = _size(size)
    for row in range(count):
        image = digests[row * _DIGEST : (row + 1) * _DIGEST]
        answer = scores[row * size : (row + 1) * size]
        yield hashlib.sha256(before + image + between + answer).digest()


def _sized(part: bytes) -> bytes:
    return _size(len(part)) + part


def _size(size: int) -> bytes:
    return size.to_bytes(8, "little")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
