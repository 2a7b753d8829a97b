"""`papagaio ledger import`: the answers of another machine, each once, or nothing at all."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from papagaio.errors import BadLedger, NoSpace
from papagaio.ledger import Ledger, Question
from papagaio.ledger_import import Imported, import_ledger

ASKED = Question("box-1", "probabilities")
OTHER = Question("box-2", "label")

Images = NDArray[np.uint8]
Rows = list[tuple[object, ...]]


def digests(names: Sequence[int]) -> Images:
    rows = np.zeros((len(names), 32), np.uint8)
    rows[:, :2] = np.array(names, ">u2").view(np.uint8).reshape(-1, 2)
    return rows


def answers(names: Sequence[int], classes: int = 3) -> NDArray[np.float32]:
    return np.array([np.arange(classes) + name for name in names], "f4").reshape(-1, classes)


def fill(ledger: Ledger, names: Sequence[int], asked: Question = ASKED, classes: int = 3) -> None:
    number = ledger.note_request(asked, len(names))
    ledger.note_answers(asked, number, digests(names), answers(names, classes))


def content(path: Path) -> list[Rows]:
    with closing(sqlite3.connect(path)) as db:
        return [
            db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()  # noqa: S608  # no input
            for table in ("requests", "answers")
        ]


def times(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT box, response, draw, images, sent, answered, canaries, change FROM requests "
            "ORDER BY sent, images, box, answered"
        ).fetchall()


def imported(theirs: Path, ours: Path) -> Imported:
    with Ledger(theirs) as source, Ledger(ours) as into:
        return import_ledger(source, into)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Eleven answers in four requests, a canary alone, and five images without an answer."""
    path = tmp_path / "theirs.sqlite"
    with Ledger(path) as ledger:
        fill(ledger, range(4))
        ledger.note_request(ASKED, 3)
        fill(ledger, range(4, 6))
        fill(ledger, range(4), OTHER, classes=2)
        ledger.note_request(OTHER, 2)
        # Canaries among new images, and alone.
        number = ledger.note_request(OTHER, 2, canaries=1)
        ledger.note_answers(OTHER, number, digests([7]), answers([7], classes=2), [0.25])
        number = ledger.note_request(OTHER, 1, canaries=1)
        ledger.note_answers(OTHER, number, digests([]), answers([], classes=2), [0.5])
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "ours.sqlite"


def test_everything_comes_with_its_times(theirs: Path, ours: Path) -> None:
    assert imported(theirs, ours) == Imported(answers=11, requests=5, known=0, interrupted=5)

    assert times(ours) == times(theirs)
    with Ledger(theirs) as source, Ledger(ours) as into:
        assert into.totals() == source.totals()
        assert not list(into.problems())
        np.testing.assert_array_equal(into.read(ASKED, digests(range(6))), answers(range(6)))
        np.testing.assert_array_equal(into.read(OTHER, digests([2])), answers([2], classes=2))


def test_again_it_changes_nothing(theirs: Path, ours: Path) -> None:
    imported(theirs, ours)
    before = content(ours)

    assert imported(theirs, ours) == Imported(answers=0, requests=0, known=11, interrupted=0)

    assert content(ours) == before


def test_an_answer_that_is_known_stays_and_is_counted(theirs: Path, ours: Path) -> None:
    with Ledger(ours) as ledger:
        fill(ledger, [5, 2, 77])

    assert imported(theirs, ours) == Imported(answers=9, requests=5, known=2, interrupted=5)

    with Ledger(ours) as ledger:
        assert [totals.answers for totals in ledger.totals()] == [7, 5]
        assert not list(ledger.problems())
        every = [77, *range(6)]
        np.testing.assert_array_equal(ledger.read(ASKED, digests(every)), answers(every))


def test_canaries_come_where_every_other_answer_of_their_request_is_known(
    theirs: Path, ours: Path
) -> None:
    with Ledger(ours) as ledger:
        fill(ledger, [7], OTHER, classes=2)

    # The request brings its canary, and none of its answers.
    assert imported(theirs, ours) == Imported(answers=10, requests=5, known=1, interrupted=5)
    assert imported(theirs, ours) == Imported(answers=0, requests=0, known=11, interrupted=0)

    with Ledger(ours) as ledger:
        assert [totals.canaries for totals in ledger.totals()] == [2, 0]
        assert not list(ledger.problems())


def test_interrupted_requests_of_the_same_moment_both_come_and_only_once(
    theirs: Path, ours: Path
) -> None:
    with closing(sqlite3.connect(theirs)) as db:
        db.execute(
            "INSERT INTO requests (box, response, draw, images, sent) SELECT box, response, draw, "
            "images, sent FROM requests WHERE answered IS NULL"
        )
        db.commit()

    assert imported(theirs, ours).interrupted == 10
    assert imported(theirs, ours).interrupted == 0

    assert times(ours) == times(theirs)


def test_other_scores_are_refused_and_nothing_stays(theirs: Path, ours: Path) -> None:
    with Ledger(ours) as ledger:
        number = ledger.note_request(OTHER, 2)
        ledger.note_answers(OTHER, number, digests([9, 3]), answers([9, 4], classes=2))
    before = content(ours)

    with pytest.raises(BadLedger) as refused:
        imported(theirs, ours)

    image = digests([3])[0].tobytes().hex()[:16]
    assert str(refused.value) == (
        f"{theirs}: image {image} of box-2 has other scores in {ours}: give one of the two models "
        "another identity; nothing was imported"
    )
    assert content(ours) == before


def test_another_number_of_classes_is_refused_though_no_image_is_in_both(
    theirs: Path, ours: Path
) -> None:
    with Ledger(ours) as ledger:
        fill(ledger, [77], classes=5)

    with pytest.raises(BadLedger, match=r"box-1 has 3 classes there, and 5 in .*ours\.sqlite"):
        imported(theirs, ours)


def test_a_ledger_that_was_tampered_with_is_refused_and_nothing_stays(
    theirs: Path, ours: Path, papagaio: Papagaio
) -> None:
    with closing(sqlite3.connect(theirs)) as db:
        db.execute("UPDATE answers SET scores = zeroblob(length(scores)) WHERE request = 4")
        db.commit()

    ended = papagaio("ledger", "import", theirs, "--into", ours)

    assert ended.code == 2
    assert "theirs.sqlite: answer to image" in ended.complaint
    assert "seal does not match" in ended.complaint
    assert not ours.exists()


def test_a_full_disk_leaves_nothing_half_imported(theirs: Path, ours: Path) -> None:
    with Ledger(theirs) as ledger:
        fill(ledger, range(100, 3000))
    with Ledger(ours) as ledger:
        fill(ledger, [77])
    before = content(ours)

    with Ledger(theirs) as source, Ledger(ours) as into:
        # What SQLite says on a full disk, without one.
        (pages,) = into._db.execute("PRAGMA page_count").fetchone()
        into._db.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(NoSpace, match="no space left"):
            import_ledger(source, into)

    assert content(ours) == before


requests = st.lists(st.lists(st.integers(0, 30), max_size=6, unique=True), max_size=8)


@settings(deadline=None, max_examples=20)
@given(here=requests, there=requests)
def test_whatever_two_machines_asked_is_together_afterwards(
    here: list[list[int]], there: list[list[int]]
) -> None:
    with TemporaryDirectory() as folder:
        paths = Path(folder, "here"), Path(folder, "there")
        sets: list[set[int]] = []
        for path, batches in zip(paths, (here, there), strict=True):
            known: set[int] = set()
            with Ledger(path) as ledger:
                for batch in batches:
                    # As `ask` does; a request without a new image stands for an interrupted one.
                    if new := [name for name in batch if name not in known]:
                        fill(ledger, new)
                    else:
                        ledger.note_request(ASKED, len(batch) + 1)
                    known |= set(new)
            sets.append(known)
        both = sorted(sets[0] | sets[1])

        first = imported(paths[1], paths[0])
        second = imported(paths[1], paths[0])

        assert first.answers == len(sets[1] - sets[0])
        assert first.known == len(sets[0] & sets[1])
        assert (second.answers, second.requests, second.interrupted) == (0, 0, 0)
        with Ledger(paths[0]) as ledger:
            assert not list(ledger.problems())
            assert sum(totals.answers for totals in ledger.totals()) == len(both)
            if both:
                np.testing.assert_array_equal(ledger.read(ASKED, digests(both)), answers(both))


def test_an_audit_pays_for_nothing_that_was_imported(
    tiny: Tiny, papagaio: Papagaio, tmp_path: Path
) -> None:
    assert papagaio(*tiny.audit()).code == 0
    asked = tiny.asked()
    ours = tmp_path / "answers.sqlite"

    ended = papagaio("ledger", "import", tiny.ledger, "--into", ours)

    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "answers brought\t21, in 7 requests",
        "known before\t0",
        "images of interrupted requests brought\t0",
    ]
    assert papagaio(*tiny.audit(out=tmp_path / "again", ledger=ours)).code == 0
    assert tiny.asked() == asked


def test_a_ledger_is_not_imported_into_itself(theirs: Path, papagaio: Papagaio) -> None:
    ended = papagaio("ledger", "import", theirs, "--into", theirs)
    assert ended.code == 2
    assert ended.complaint == (
        f"papagaio: --into {theirs}: {theirs}: name another ledger to import it into"
    )


def test_a_missing_ledger_is_named_and_none_is_made(papagaio: Papagaio, tmp_path: Path) -> None:
    ended = papagaio("ledger", "import", tmp_path / "nowhere", "--into", tmp_path / "ours")
    assert (ended.code, "nowhere: no such file" in ended.complaint) == (2, True)
    assert list(tmp_path.iterdir()) == []
