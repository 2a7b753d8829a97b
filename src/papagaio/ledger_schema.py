"""The file of a ledger: its schema, of any age, and how it is opened.

WAL works on one host only, so a ledger belongs on a local disk.
"""

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from papagaio.errors import BadLedger, NoSpace

__all__ = ["MIGRATIONS", "connect", "copy", "is_full"]

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
    -- 2, 2026-11: answers are appended. In the order of their images, as before, 500 answers change
    -- 500 pages, and each page is written twice.
    ALTER TABLE answers RENAME TO single;
    -- The answers of a request, written in one transaction with its `answered`; or some of them.
    CREATE TABLE answers (
        request   INTEGER NOT NULL REFERENCES requests,
        digests   BLOB NOT NULL,     -- SHA-256 of each image, one after the other
        scores    BLOB NOT NULL,     -- float32, little-endian, one per image and class
        seals     BLOB NOT NULL      -- of each answer: SHA-256 over request's key, image, scores
    ) STRICT;
    INSERT INTO answers SELECT request, image, scores, seal FROM single ORDER BY request, image;
    DROP TABLE single;
    """,
    """
    -- 3, 2026-11: images that were sent again among others, to see whether their answers change.
    ALTER TABLE requests ADD COLUMN canaries INTEGER NOT NULL DEFAULT 0;  -- how many of `images`
    ALTER TABLE requests ADD COLUMN change REAL;  -- the largest change of a score; NULL: unknown
    """,
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the database of a ledger, or create one, and bring its schema up to date.

    Raises:
        BadLedger: the file is not a ledger, or one of a newer version.
        NoSpace: the disk is full.
    """
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
        if is_full(error):
            raise NoSpace(f"{path}: no space left on the disk; free some first") from error
        raise _unusable(path, error) from error
    return db


def copy(path: Path, to: Path) -> None:
    """Copy a ledger, of any age, while another process may be writing it.

    Raises:
        BadLedger: the file is not a ledger, or one of a newer version.
        NoSpace: the disk is full.
    """
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db,
            closing(sqlite3.connect(to)) as other,
        ):
            _version(db, path)
            db.backup(other)
    except sqlite3.DatabaseError as error:
        if is_full(error):
            raise NoSpace(f"{to}: no space left on the disk; free some first") from error
        raise _unusable(path, error) from error


def _unusable(path: Path, error: sqlite3.DatabaseError) -> BadLedger:
    if path.is_dir():
        return BadLedger(f"{path}: a folder, not a ledger; name a file")
    # Its content may be sound: SQLite also writes beside it.
    if getattr(error, "sqlite_errorcode", None) in (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    ):
        return BadLedger(f"{path}: cannot be opened ({error}); it needs a folder to write in")
    return BadLedger(f"{path}: not a ledger ({error}); name another file")


def is_full(error: sqlite3.DatabaseError) -> bool:
    """Whether an error means that the disk is full."""
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
