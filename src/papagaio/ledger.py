"""The ledger: every answer paid for, in SQLite.

`MIGRATIONS` documents the schema. WAL works on one host only, so a ledger belongs on a local disk,
and one process at a time writes it.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.errors import BadLedger, NoSpace
from papagaio.images.imageset import as_keys

__all__ = ["MIGRATIONS", "Ledger", "Question", "Totals"]

# Appended to, never edited: a ledger of any age is migrated when it is opened.
MIGRATIONS = (
    """
    -- 1, 2026-11: one row per request, written before the request is sent.
    CREATE TABLE requests (
        number    INTEGER PRIMARY KEY,
        box       TEXT NOT NULL,     -- identity of the black box
        response  TEXT NOT NULL,     -- response form asked for
        draw      INTEGER NOT NULL,  -- 0; asking an image again on purpose takes the next one
        images    INTEGER NOT NULL,  -- the number of its images
        sent      TEXT NOT NULL,     -- UTC, ISO 8601
        answered  TEXT               -- UTC; NULL: interrupted, so possibly paid for
    ) STRICT;
    -- One row per answer, written in one transaction with its request's `answered`.
    CREATE TABLE answers (
        box       TEXT NOT NULL,
        response  TEXT NOT NULL,
        draw      INTEGER NOT NULL,
        image     BLOB NOT NULL,     -- SHA-256 of the image
        scores    BLOB NOT NULL,     -- float32, little-endian, one per class
        request   INTEGER NOT NULL REFERENCES requests,
        seal      BLOB NOT NULL,     -- SHA-256 over the columns before `request`
        PRIMARY KEY (box, response, draw, image)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- 2, 2026-11: images that were sent again among others, to see whether their answers change.
    ALTER TABLE requests ADD COLUMN canaries INTEGER NOT NULL DEFAULT 0;  -- how many of `images`
    ALTER TABLE requests ADD COLUMN change REAL;  -- the largest change of a score; NULL: unknown
    """,
)

_SEAL_TAG = b"papagaio-answer-1"


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
        change: the largest change of one of their scores; None without canaries.
    """

    question: Question
    answers: int
    requests: int
    interrupted: int
    first: str
    last: str
    canaries: int = 0
    change: float | None = None


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
            self._db = _connect(path)
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
            cursor = self._db.execute(
                "INSERT INTO requests (box, response, draw, images, canaries, sent) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (question.box, question.response, question.draw, images, canaries, _now()),
            )
        number = cursor.lastrowid
        assert number is not None  # noqa: S101  # an INSERT has just succeeded
        return number

    def note_answers(
        self,
        question: Question,
        request: int,
        digests: NDArray[np.uint8],
        scores: NDArray[np.float32],
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
        key = (question.box, question.response, question.draw)
        images = [digest.tobytes() for digest in digests]
        values = [row.tobytes() for row in scores.astype("<f4")]
        with self._transaction():
            self._db.executemany(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (*key, image, value, request, _seal(*key, image, value))
                    for image, value in zip(images, values, strict=True)
                ],
            )
            self._db.execute(
                "UPDATE requests SET answered = ?, change = ? WHERE number = ?",
                (_now(), max(changes, default=None), request),
            )

    def missing(self, question: Question, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Rows (int64) of `digests` (uint8, N x 32) that have no answer yet."""
        _, places = self._find(question, digests)
        return np.flatnonzero(places < 0).astype(np.int64)

    def read(self, question: Question, digests: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers to the images of `digests` (uint8, N x 32), as float32 (N, K), in order.

        Raises:
            BadLedger: one of them was never answered.
        """
        scores, places = self._find(question, digests)
        if (places < 0).any():
            count = int((places < 0).sum())
            raise BadLedger(f"{self.path}: {count} of {len(digests)} images have no answer yet")
        return scores[places]

    def classes(self, question: Question) -> int | None:
        """How many scores the answers to the question have; None where there is none yet."""
        rows = self._rows(
            "SELECT length(scores) / 4 FROM answers WHERE box = ? AND response = ? AND draw = ? "
            "LIMIT 1",
            question,
        )
        return int(rows[0][0]) if rows else None

    def totals(self) -> list[Totals]:
        """What the ledger holds, one row per question, oldest first."""
        rows = self._rows(
            """
            SELECT box, response, draw,
                   coalesce(sum(images - canaries) FILTER (WHERE answered IS NOT NULL), 0),
                   count(answered),
                   coalesce(sum(images) FILTER (WHERE answered IS NULL), 0),
                   min(sent), max(sent),
                   coalesce(sum(canaries) FILTER (WHERE answered IS NOT NULL), 0), max(change)
            FROM requests GROUP BY box, response, draw ORDER BY min(number)
            """
        )
        return [Totals(Question(*row[:3]), *row[3:]) for row in rows]

    def problems(self) -> Iterator[str]:
        """Every contradiction, in words; nothing if the ledger is sound."""
        try:
            yield from self._damages()
            yield from self._broken_answers()
            yield from self._miscounts()
        except sqlite3.DatabaseError as error:
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
            SELECT number, images - canaries, answered IS NOT NULL, count(image)
            FROM requests LEFT JOIN answers ON request = number
            GROUP BY number HAVING count(image) != iif(answered IS NULL, 0, images - canaries)
            """
        )
        for number, images, answered, stored in counts:
            state = "answered" if answered else "interrupted"
            yield f"request {number} ({state}): {images} images were sent, {stored} are answered"

    def _broken_answers(self) -> Iterator[str]:
        rows = self._db.execute("SELECT box, response, draw, image, scores, seal FROM answers")
        for box, response, draw, image, scores, seal in rows:
            if _seal(box, response, draw, image, scores) != seal:
                yield f"answer to image {image.hex()[:16]}: its seal does not match; it was changed"
            elif not np.isfinite(np.frombuffer(scores, "<f4")).all():
                yield f"answer to image {image.hex()[:16]}: a score is not finite"

    def _find(
        self, question: Question, digests: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """All answers to the question, and each digest's row among them, or -1."""
        rows = self._rows(
            "SELECT image, scores FROM answers WHERE box = ? AND response = ? AND draw = ? "
            "ORDER BY image",
            question,
        )
        if not rows:
            return np.empty((0, 0), np.float32), np.full(len(digests), -1, np.int64)
        images = np.frombuffer(b"".join(image for image, _ in rows), "S32")
        scores = np.frombuffer(b"".join(s for _, s in rows), "<f4").reshape(len(rows), -1)
        keys = as_keys(digests)
        at = np.minimum(np.searchsorted(images, keys), len(rows) - 1)
        return scores.astype(np.float32), np.where(images[at] == keys, at, -1).astype(np.int64)

    def _rows(self, sql: str, question: Question | None = None) -> list[tuple[Any, ...]]:
        values = () if question is None else (question.box, question.response, question.draw)
        try:
            return self._db.execute(sql, values).fetchall()
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
            if _is_full(error):
                raise NoSpace(
                    f"{self.path}: no space left on the disk; answers paid so far are kept, "
                    "free some space and run the same command again"
                ) from error
            raise


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as opened:
            db = sqlite3.connect(path, timeout=60, isolation_level=None)
            opened.callback(db.close)
            version = _version(db, path)
            db.execute("PRAGMA journal_mode = WAL")
            # An answer is paid for: it must outlast a power cut, not only a crash.
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            for number, statements in enumerate(MIGRATIONS[version:], version + 1):
                db.executescript(f"BEGIN; {statements} PRAGMA user_version = {number}; COMMIT;")
            opened.pop_all()
    except sqlite3.DatabaseError as error:
        if _is_full(error):
            raise NoSpace(f"{path}: no space left on the disk; free some first") from error
        raise BadLedger(f"{path}: not a ledger ({error}); name another file") from error
    return db


def _is_full(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The schema's number, 0 for an empty file; found before anything is written into it."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise BadLedger(
            f"{path}: written by a newer Papagaio (schema {version}; this one "
            f"reads up to {len(MIGRATIONS)}); upgrade papagaio"
        )
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    if tables if version == 0 else not tables >= {"requests", "answers"}:
        raise BadLedger(f"{path}: another program's database, not a ledger; name another file")
    return int(version)


def _seal(box: str, response: str, draw: int, image: bytes, scores: bytes) -> bytes:
    digest = hashlib.sha256(_SEAL_TAG)
    for part in (box.encode(), response.encode(), str(draw).encode(), image, scores):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
