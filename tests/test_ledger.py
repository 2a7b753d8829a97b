import hashlib
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from papagaio.errors import BadLedger, Busy, NoSpace
from papagaio.ledger import Ledger, Question, Totals, snapshot
from papagaio.ledger_schema import MIGRATIONS

ASKED = Question("box-1", "probabilities")
OTHERS = [
    Question("box-2", "probabilities"),
    Question("box-1", "label"),
    Question("box-1", "probabilities", draw=1),
]
TAMPERINGS = {
    "the scores": ("UPDATE answers SET scores = zeroblob(60) WHERE request = 1", "seal"),
    "an image": (
        "UPDATE answers SET digests = zeroblob(160) WHERE request = 1",
        "image 0000000000000000: its seal|image 0000000000000000 is answered twice",
    ),
    "the seals": ("UPDATE answers SET seals = zeroblob(160) WHERE request = 1", "seal"),
    "whose answers they are": ("UPDATE requests SET box = 'x' WHERE number = 1", "seal"),
    "the answers taken out": (
        "DELETE FROM answers WHERE request = 1",
        r"request 1 \(answered\): 5 images were sent, 0 are answered",
    ),
    "an answer taken out": (
        """
        UPDATE answers SET digests = substr(digests, 33), seals = substr(seals, 33),
                           scores = substr(scores, 13) WHERE request = 1
        """,
        r"request 1 \(answered\): 5 images were sent, 4 are answered",
    ),
    "a score taken out": (
        "UPDATE answers SET scores = substr(scores, 5) WHERE request = 1",
        "request 1: a part of its answers is missing",
    ),
    "a seal taken out": (
        "UPDATE answers SET seals = substr(seals, 33) WHERE request = 1",
        "request 1: a part of its answers is missing",
    ),
    "answers to the same images again": (
        "INSERT INTO answers SELECT 2, digests, scores, seals FROM answers WHERE request = 1",
        r"is answered twice for box-1|request 2 \(answered\): 5 images .* 10 are answered",
    ),
    "a request's count": (
        "UPDATE requests SET images = 3 WHERE number = 1",
        r"request 1 \(answered\): 3 images were sent, 5 are answered",
    ),
    "an answered request made interrupted": (
        "UPDATE requests SET answered = NULL WHERE number = 1",
        r"request 1 \(interrupted\): 5 images were sent, 5 are answered",
    ),
    "a request taken out": (
        "DELETE FROM requests WHERE number = 1",
        "answers: a row refers to a missing request",
    ),
}


def digests(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)


def scores(count: int, classes: int = 3, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((count, classes), np.float32)


KEY = (ASKED.box, ASKED.response, ASKED.draw)


def seal(image: bytes, values: bytes) -> bytes:
    """The seal of an answer, as the first schema defined it."""
    parts = (ASKED.box.encode(), ASKED.response.encode(), b"0", image, values)
    sized = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return hashlib.sha256(b"papagaio-answer-1" + sized).digest()


def fill(
    ledger: Ledger, images: NDArray[np.uint8], values: NDArray[np.float32], asked: Question = ASKED
) -> int:
    request = ledger.note_request(asked, len(images))
    ledger.note_answers(asked, request, images, values)
    return request


def edit(path: Path, statement: str, *values: bytes) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement, values)
        db.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


# One byte repeated, all zeros among them: keys that end in zeros are the easiest to get wrong.
batches = st.lists(st.lists(st.binary(min_size=2, max_size=2), max_size=8, unique=True), max_size=6)


@settings(deadline=None, max_examples=50)
@given(batches=batches, random=st.randoms(use_true_random=False))
def test_whatever_was_written_is_read_back_in_any_order(
    batches: list[list[bytes]], random: np.random.Generator
) -> None:
    known: dict[bytes, bytes] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        for batch in batches:
            # Opened anew for each batch, as by a run that goes on.
            with Ledger(path) as ledger:
                new = [key.ljust(32, b"\0") for key in batch if key.ljust(32, b"\0") not in known]
                values = scores(len(new), seed=len(known))
                images = np.frombuffer(b"".join(new), np.uint8).reshape(-1, 32)
                fill(ledger, images, values)
                known |= {key: row.tobytes() for key, row in zip(new, values, strict=True)}
        order = list(known) * 2
        random.shuffle(order)
        with Ledger(path) as ledger:
            images = np.frombuffer(b"".join(order), np.uint8).reshape(-1, 32)
            read = ledger.read(ASKED, images)
            unknown = np.concatenate([images, digests(3)])
            assert ledger.missing(ASKED, unknown).tolist() == [
                len(order),
                len(order) + 1,
                len(order) + 2,
            ]
            assert not list(ledger.problems())
    assert [row.tobytes() for row in read] == [known[key] for key in order]


def test_an_answer_to_one_question_is_none_to_another(ledger: Ledger) -> None:
    images = digests(4)
    for number, asked in enumerate([*OTHERS, ASKED]):
        assert ledger.missing(asked, images).tolist() == [0, 1, 2, 3]
        assert ledger.classes(asked) is None
        fill(ledger, images, scores(4, number + 1, seed=number), asked)

    for number, asked in enumerate([*OTHERS, ASKED]):
        assert ledger.classes(asked) == number + 1
        np.testing.assert_array_equal(
            ledger.read(asked, images), scores(4, number + 1, seed=number)
        )


def test_answers_keep_their_number_of_classes_and_their_bits(ledger: Ledger) -> None:
    odd = np.array([[0.1, np.nextafter(np.float32(0), np.float32(1)), -0.0, 1e38]], np.float32)

    fill(ledger, digests(1), odd)

    assert ledger.read(ASKED, digests(1)).tobytes() == odd.tobytes()


def test_answers_to_one_response_can_be_kept_as_anothers(ledger: Ledger) -> None:
    images = digests(6)
    fill(ledger, images[:4], scores(4))
    ledger.note_request(ASKED, 3)
    fill(ledger, images[:2], scores(2, seed=1), OTHERS[0])

    ledger.restate(ASKED, "label")

    label = OTHERS[1]
    assert ledger.missing(ASKED, images).tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(ledger.read(label, images[:4]), scores(4))
    held = {totals.question: (totals.answers, totals.interrupted) for totals in ledger.totals()}
    assert held == {label: (4, 3), OTHERS[0]: (2, 0)}
    assert not list(ledger.problems())


def test_they_stay_where_they_are_if_the_other_response_has_answers(ledger: Ledger) -> None:
    images = digests(6)
    fill(ledger, images[:4], scores(4))
    fill(ledger, images[2:], scores(4), OTHERS[1])

    ledger.restate(ASKED, "label")

    assert ledger.missing(ASKED, images).tolist() == [4, 5]
    assert ledger.missing(OTHERS[1], images).tolist() == [0, 1]


def test_missing_images_are_named_by_row(ledger: Ledger) -> None:
    images = digests(6)
    fill(ledger, images[[1, 4]], scores(2))

    missing = ledger.missing(ASKED, images)

    assert missing.tolist() == [0, 2, 3, 5]
    assert missing.dtype == np.int64
    assert ledger.missing(ASKED, images[:0]).tolist() == []


def test_reading_what_was_never_answered_is_an_error(ledger: Ledger) -> None:
    images = digests(3)
    with pytest.raises(BadLedger, match="3 of 3 images have no answer"):
        ledger.read(ASKED, images)
    fill(ledger, images[:2], scores(2))
    with pytest.raises(BadLedger, match="1 of 3 images have no answer"):
        ledger.read(ASKED, images)


def test_an_answer_that_was_paid_for_again_is_kept_and_the_first_one_is_read(
    ledger: Ledger,
) -> None:
    images = digests(3)
    fill(ledger, images[1:2], scores(1))

    fill(ledger, images[::-1], scores(3, seed=1))

    expected = scores(3, seed=1)[::-1].copy()
    expected[1] = scores(1)
    np.testing.assert_array_equal(ledger.read(ASKED, images), expected)
    (problem,) = ledger.problems()
    assert problem == f"image {images[1].tobytes().hex()[:16]} is answered twice for box-1"


def test_a_request_without_a_new_answer_is_answered(ledger: Ledger) -> None:
    fill(ledger, digests(0), scores(0))
    assert ledger.classes(ASKED) is None

    fill(ledger, digests(2), scores(2))

    assert ledger.classes(ASKED) == 3
    np.testing.assert_array_equal(ledger.read(ASKED, digests(2)), scores(2))
    assert not list(ledger.problems())


def test_an_answer_needs_a_request(ledger: Ledger) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        ledger.note_answers(ASKED, 7, digests(1), scores(1))


def test_totals_count_answers_requests_and_interrupted_images_by_question(ledger: Ledger) -> None:
    begun = datetime.now(UTC).isoformat(timespec="milliseconds")
    fill(ledger, digests(5), scores(5))
    ledger.note_request(ASKED, 7)
    fill(ledger, digests(2, seed=1), scores(2))
    ledger.note_request(OTHERS[0], 4)
    ledger.note_request(ASKED, 1)
    ended = datetime.now(UTC).isoformat(timespec="milliseconds")

    first, second = ledger.totals()

    assert first == Totals(ASKED, 7, 2, 8, first.first, first.last)
    assert begun <= first.first <= first.last <= ended
    assert second == Totals(OTHERS[0], 0, 0, 4, second.first, second.first)


def test_the_time_of_requests_that_overlap_is_counted_once(ledger: Ledger, path: Path) -> None:
    fill(ledger, digests(3), scores(3))
    fill(ledger, digests(2, seed=1), scores(2))
    ledger.note_request(ASKED, 7)
    day = "2026-11-26T10:00:"
    with closing(sqlite3.connect(path)) as db:
        times = [(f"{day}00.000+00:00", f"{day}04.000+00:00", 1)]
        times += [(f"{day}03.000+00:00", f"{day}05.500+00:00", 2)]
        db.executemany("UPDATE requests SET sent = ?, answered = ? WHERE number = ?", times)
        db.commit()
    assert ledger.seconds_asked(ASKED) == pytest.approx(5.5, abs=1e-3)
    assert ledger.seconds_asked(OTHERS[0]) == 0


def test_an_empty_ledger_has_no_totals_and_no_problems(ledger: Ledger) -> None:
    assert ledger.totals() == []
    assert list(ledger.problems()) == []


def test_an_interrupted_request_is_no_problem(ledger: Ledger) -> None:
    fill(ledger, digests(5), scores(5))
    ledger.note_request(ASKED, 3)

    assert list(ledger.problems()) == []


@pytest.mark.parametrize(("statement", "words"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_tampering_is_named(path: Path, statement: str, words: str) -> None:
    images = digests(5)
    with Ledger(path) as ledger:
        fill(ledger, images, scores(5))
        fill(ledger, digests(5, seed=1), scores(5, seed=1))
    edit(path, statement)

    with Ledger(path) as ledger:
        problems = list(ledger.problems())

    assert problems
    assert all(re.search(words, problem) for problem in problems)


def test_a_single_flipped_bit_of_a_score_is_named_with_its_image(path: Path) -> None:
    images, values = digests(5), scores(5)
    with Ledger(path) as ledger:
        fill(ledger, images, values)
    flipped = bytearray(values.tobytes())
    flipped[3 * 12 + 5] ^= 1
    edit(path, "UPDATE answers SET scores = ?", bytes(flipped))

    with Ledger(path) as ledger:
        (problem,) = ledger.problems()

    assert images[3].tobytes().hex()[:16] in problem


def test_a_score_that_is_not_finite_is_a_problem(ledger: Ledger) -> None:
    fill(ledger, digests(1), np.array([[0.5, np.nan]], np.float32))

    (problem,) = ledger.problems()

    assert "not finite" in problem


def test_a_damaged_page_is_a_problem_and_reading_says_how_to_look_into_it(path: Path) -> None:
    with Ledger(path) as ledger:
        fill(ledger, digests(500), scores(500))
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 5 * 4096 + 64] = b"\xff" * 64  # the head of a page of answers
    path.write_bytes(content)

    with Ledger(path) as ledger:
        assert list(ledger.problems())
        with pytest.raises(BadLedger, match=r"damaged .*; see papagaio ledger verify"):
            ledger.read(ASKED, digests(500))


def test_a_ledger_that_can_grow_no_more_keeps_what_was_paid(path: Path) -> None:
    images, values = digests(2000), scores(2000, classes=10)
    with Ledger(path) as ledger:
        fill(ledger, images[:50], values[:50])
        (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
        # What SQLite says on a full disk, without one.
        ledger._db.execute(f"PRAGMA max_page_count = {pages + 4}")
        request = ledger.note_request(ASKED, 1950)

        with pytest.raises(NoSpace, match="answers paid so far are kept"):
            ledger.note_answers(ASKED, request, images[50:], values[50:])

        assert ledger.missing(ASKED, images).tolist() == list(range(50, 2000))
    with Ledger(path) as ledger:
        np.testing.assert_array_equal(ledger.read(ASKED, images[:50]), values[:50])
        (totals,) = ledger.totals()
        assert (totals.answers, totals.interrupted) == (50, 1950)
        assert not list(ledger.problems())
        # With space again, the same answers are written.
        fill(ledger, images[50:], values[50:])
        np.testing.assert_array_equal(ledger.read(ASKED, images), values)


def test_an_answer_outlasts_a_power_cut(ledger: Ledger) -> None:
    pragmas = {
        name: ledger._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode", "foreign_keys")
    }

    full = 2
    assert pragmas == {"synchronous": full, "journal_mode": "wal", "foreign_keys": 1}


def test_answers_of_the_first_schema_are_read_and_their_seals_hold(path: Path) -> None:
    images, values = digests(7), scores(7)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(MIGRATIONS[0])
        db.execute("PRAGMA user_version = 1")
        for number, (start, stop) in enumerate([(0, 4), (4, 7)], 1):
            request = (number, *KEY, stop - start, "2026-11-01T00:00:00.000+00:00", "2026-11-02")
            db.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)", request)
            for image, row in zip(images[start:stop], values[start:stop], strict=True):
                answer = (image.tobytes(), row.tobytes())
                columns = (*KEY, *answer, number, seal(*answer))
                db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", columns)
        db.commit()

    before = path.read_bytes()
    with snapshot(path) as ledger:
        np.testing.assert_array_equal(ledger.read(ASKED, images), values)
    assert path.read_bytes() == before
    with Ledger(path) as ledger:
        np.testing.assert_array_equal(ledger.read(ASKED, images[::-1]), values[::-1])
        assert not list(ledger.problems())
        fill(ledger, digests(5, seed=1), scores(5, seed=1))
        assert [(t.answers, t.requests) for t in ledger.totals()] == [(12, 3)]
        assert not list(ledger.problems())
        for stored_digests, stored_scores, seals in ledger._db.execute(
            "SELECT digests, scores, seals FROM answers WHERE request = 3"
        ):
            expected = [
                seal(stored_digests[32 * n : 32 * n + 32], stored_scores[12 * n : 12 * n + 12])
                for n in range(5)
            ]
            assert seals == b"".join(expected)


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_a_ledger_of_any_age_is_brought_up_to_date(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        for statements in MIGRATIONS[:version]:
            db.executescript(statements)
        db.execute(f"PRAGMA user_version = {version}")
    with Ledger(path.with_name("new.sqlite")) as new:
        schema = new._db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()

    with Ledger(path) as ledger:
        assert ledger._db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        found = ledger._db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        assert found == schema
        fill(ledger, digests(2), scores(2))
        np.testing.assert_array_equal(ledger.read(ASKED, digests(2)), scores(2))


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.touch()

    with Ledger(path) as ledger:
        fill(ledger, digests(2), scores(2))

    with Ledger(path) as ledger:
        np.testing.assert_array_equal(ledger.read(ASKED, digests(2)), scores(2))


def test_a_ledger_is_begun_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a" / "b" / "ledger.sqlite") as ledger:
        assert ledger.totals() == []


def test_a_newer_ledger_is_refused_and_left_alone(path: Path) -> None:
    with Ledger(path) as ledger:
        fill(ledger, digests(2), scores(2))
    edit(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()

    with pytest.raises(BadLedger, match=r"newer Papagaio.*upgrade"):
        Ledger(path)

    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database" * 100, b"\x89PNG\r\n\x1a\n" * 500])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(BadLedger, match="not a ledger"):
        Ledger(path)

    assert path.read_bytes() == content


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadLedger, match="not a ledger"):
        Ledger(tmp_path)


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_another_programs_database_is_refused_and_left_alone(path: Path, version: int) -> None:
    edit(path, "CREATE TABLE places (name TEXT)")
    edit(path, f"PRAGMA user_version = {version}")
    before = path.read_bytes()

    with pytest.raises(BadLedger, match="not a ledger"):
        Ledger(path)

    assert path.read_bytes() == before


def test_a_refused_file_is_not_kept_locked(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    with pytest.raises(BadLedger):
        Ledger(path)
    path.unlink()

    with Ledger(path) as ledger:
        assert ledger.totals() == []


OPEN = "import sys, pathlib; from papagaio.ledger import Ledger; Ledger(pathlib.Path(sys.argv[1]))"


def test_a_second_process_is_told_that_the_ledger_is_busy(path: Path) -> None:
    def open_elsewhere() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=False
        )

    with Ledger(path) as ledger:
        fill(ledger, digests(2), scores(2))
        refused = open_elsewhere()
        assert refused.returncode != 0
        assert "papagaio.errors.Busy" in refused.stderr
        assert "another process works here" in refused.stderr
        np.testing.assert_array_equal(ledger.read(ASKED, digests(2)), scores(2))

    assert open_elsewhere().returncode == 0


def test_a_second_opener_in_the_same_process_is_told_too(path: Path) -> None:
    with Ledger(path), pytest.raises(Busy):
        Ledger(path)


def test_a_ledger_that_is_being_written_can_be_looked_at(path: Path) -> None:
    with Ledger(path) as ledger:
        fill(ledger, digests(2), scores(2))
        with snapshot(path) as seen:
            fill(ledger, digests(3, seed=1), scores(3))
            assert [totals.answers for totals in seen.totals()] == [2]
        assert [totals.answers for totals in ledger.totals()] == [5]


def test_fifty_thousand_answers_are_read_back_at_once(ledger: Ledger) -> None:
    count, batch = 50_000, 5_000
    images, values = digests(count), scores(count, classes=10)
    for start in range(0, count, batch):
        fill(ledger, images[start : start + batch], values[start : start + batch])
    order = np.random.default_rng(1).permutation(count)

    begun = time.monotonic()
    read = ledger.read(ASKED, images[order])
    seconds = time.monotonic() - begun

    print(f"read {count:,} answers in {seconds:.2f} s")  # noqa: T201  # shown by pytest -rP
    np.testing.assert_array_equal(read, values[order])
    assert seconds < 5
