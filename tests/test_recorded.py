"""Answers obtained elsewhere: images as files, a table of answers, and an audit of it."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Papagaio, Tiny
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.recorded import file_name, open_recorded
from papagaio.cli.main import app
from papagaio.errors import BadAnswer, BadSettings
from papagaio.images.imageset import digest_images
from papagaio.ledger import Ledger
from papagaio.result import read_result

CLASSES = 3
SETS = ("test", "transfer")
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8)
NAMES = [file_name(digest) for digest in digest_images(IMAGES)]
DECLARED = Declaration((8, 8, 1), classes=CLASSES)


def answers_to(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores that depend on which third of an image is brightest."""
    bands = np.stack([images[:, rows].mean((1, 2, 3)) for rows in np.split(np.arange(6), 3)], 1)
    raised = np.exp((bands - bands.max(1, keepdims=True)) / 4)
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


SCORES = answers_to(IMAGES)


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("name", "one", "two", "three"))
        writer.writerows(
            [f"sub/{n}", *map(float, row)] for n, row in zip(NAMES, SCORES, strict=True)
        )


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"name": NAMES, "scores": SCORES.tolist()}), path)


def write_npz(path: Path) -> None:
    digests = [digest.tobytes().hex() for digest in digest_images(IMAGES)]
    np.savez(path, name=np.array(digests), scores=SCORES)


@pytest.mark.parametrize(
    ("suffix", "write"), [("csv", write_csv), ("parquet", write_parquet), ("npz", write_npz)]
)
def test_each_image_gets_the_answer_that_its_row_has(
    tmp_path: Path, suffix: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / f"answers.{suffix}"
    write(path)
    box = open_recorded(str(path), DECLARED)
    order = np.random.default_rng(1).permutation(len(IMAGES))
    assert box.answer(IMAGES[order]) == pytest.approx(SCORES[order], abs=1e-6)
    assert box.contract.response == "probabilities"


def test_labels_are_answers_of_a_black_box_that_shows_labels(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    labels = SCORES.argmax(1)
    pq.write_table(pa.table({"name": NAMES, "label": labels}), path)
    box = open_recorded(str(path), DECLARED)
    assert box.contract.response == "label"
    assert (box.answer(IMAGES) == np.eye(CLASSES)[labels]).all()


def test_what_is_stated_against_the_table_is_refused(tmp_path: Path) -> None:
    scores, labels = tmp_path / "scores.npz", tmp_path / "labels.npz"
    write_npz(scores)
    np.savez(labels, name=np.array(NAMES), label=SCORES.argmax(1))
    with pytest.raises(BadSettings, match=r"^returns labels: .*has scores"):
        open_recorded(str(scores), replace(DECLARED, returned="labels"))
    with pytest.raises(BadSettings, match=r"^returns logits: .*has labels"):
        open_recorded(str(labels), replace(DECLARED, returned="logits"))
    with pytest.raises(BadSettings, match=r"^shows top-3: .*has labels"):
        open_recorded(str(labels), replace(DECLARED, response="top-3"))
    with pytest.raises(BadSettings, match=r"^scale: recorded=.*does not use it; leave it out"):
        open_recorded(str(scores), replace(DECLARED, scale="0..1"))
    as_logits = open_recorded(str(scores), replace(DECLARED, returned="logits"))
    assert as_logits.identity != open_recorded(str(scores), DECLARED).identity


def test_an_image_without_a_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    np.savez(path, name=np.array(NAMES[:8]), scores=SCORES[:8])
    box = open_recorded(str(path), DECLARED)
    assert box.answer(IMAGES[:8]) == pytest.approx(SCORES[:8])
    with pytest.raises(BadAnswer, match=f"no row for 2 of 10 images, such as {NAMES[8]}"):
        box.answer(IMAGES)


@pytest.mark.parametrize(
    ("name", "columns", "reason"),
    [
        ("a.csv", {"name": [*NAMES, NAMES[0]], "scores": None}, f"{NAMES[0]} has several rows"),
        ("a.parquet", {"name": ["cat.png", *NAMES[1:]], "scores": None}, "cat.png is not the name"),
        ("a.parquet", {"name": NAMES, "scores": "nan"}, f"the row of {NAMES[3]} .*1 such rows"),
        ("a.parquet", {"name": NAMES, "label": [0, 1, 2, 3, *[0] * 6]}, f"row of {NAMES[3]} "),
        ("a.parquet", {"name": NAMES, "only": [0.5] * 10}, "needs a score for each of 3 classes"),
        ("a.parquet", {"file": NAMES, "label": [0] * 10}, "needs a column name"),
        ("a.parquet", {"name": NAMES, "word": ["x"] * 10}, "one column of numbers per class"),
        ("a.parquet", {"name": [*range(10)], "label": [0] * 10}, "needs a column name"),
        ("a.txt", {"name": NAMES, "label": [0] * 10}, "not a .csv, .parquet or .npz file"),
        ("a.npz", b"", "cannot be read as a table"),
        ("a.npz", b"PK\x03\x04 broken", "cannot be read as a table"),
        ("a.csv", None, "no such file; papagaio questions writes the images"),
    ],
)
def test_a_broken_table_is_refused_in_one_line(
    tmp_path: Path, name: str, columns: dict[str, object] | bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if isinstance(columns, bytes):
        path.write_bytes(columns)
    elif columns is not None:
        rows = SCORES.astype(float).tolist()
        if columns.get("scores", "") is None:
            rows += [rows[0]] * (len(columns["name"]) - len(rows))  # type: ignore[arg-type]
        if columns.get("scores") == "nan":
            rows[3][1] = float("nan")
        table = pa.table(columns | ({"scores": rows} if "scores" in columns else {}))
        if name.endswith(".csv"):
            names, flat = columns["name"], np.array(rows)
            table = pa.table({"name": names, **{f"c{k}": flat[:, k] for k in range(CLASSES)}})
            pa.csv.write_csv(table, path)
        else:
            pq.write_table(table, path)
    with pytest.raises(BadSettings, match=reason):
        open_recorded(str(path), DECLARED)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            "missing",
            "answers.npz has no row for 1 of 4 images, such as NAME; papagaio questions with",
        ),
        ("double", "NAME has several rows; keep one row per image"),
        ("unknown", "parrot.png is not the name of an image that papagaio questions wrote"),
        ("nan", "the row of NAME needs a score for each of 3 classes"),
    ],
)
def test_a_broken_table_ends_an_audit_in_one_line(
    tiny: Tiny, papagaio: Papagaio, fault: str, said: str
) -> None:
    images = np.concatenate([np.load(tiny.folder / f"{s}.npz")["images"] for s in SETS])
    names = [file_name(digest) for digest in digest_images(images)]
    scores, name = answers_to(images), names[5]
    match fault:
        case "missing":
            names[5] = f"{'0' * 32}.png"
        case "double":
            names[6] = names[5]
        case "unknown":
            names[5] = "parrot.png"
        case "nan":
            scores[5, 1] = np.nan
    np.savez(tiny.folder / "answers.npz", name=np.array(names), scores=scores)
    ended = papagaio(*tiny.audit(box=f"recorded={tiny.folder / 'answers.npz'}"))
    assert ended.code == 2
    assert said.replace("NAME", name) in ended.complaint
    # Of the test images, the first four had been answered.
    assert tiny.out.exists() == (fault == "missing")
    if fault == "missing":
        with Ledger(tiny.ledger) as ledger:
            assert [row.answers for row in ledger.totals()] == [4]


def test_rows_of_images_that_are_not_asked_about_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    write_npz(path)
    assert open_recorded(str(path), DECLARED).answer(IMAGES[3:5]) == pytest.approx(SCORES[3:5])


def command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_only_what_cannot_be_asked_from_here_has_questions() -> None:
    words = ("--transfer", "letters", "--test", "digits:test", "--budget", 10)
    done = command("questions", "box.py:predict", "--input", "8x8x1", "--classes", 10, *words)
    assert "can be asked from here" in str(done.exception)


def test_questions_are_not_written_among_the_images(tiny: Tiny, papagaio: Papagaio) -> None:
    folder = tiny.folder / "photos"
    folder.mkdir()
    words = tiny.audit(box="recorded=answers.csv", transfer=folder)
    ended = papagaio("questions", *words[1:], f"--to={folder / 'asked'}")
    assert ended.code == 2
    assert "would lie among the images of" in ended.complaint
    assert [*folder.iterdir()] == []


def test_questions_are_answered_elsewhere_and_audited(tmp_path: Path) -> None:
    """The owner's part here: read each PNG file, and write a row with its scores."""
    random = np.random.default_rng(2)
    np.savez(tmp_path / "photos.npz", images=random.integers(0, 256, (60, 8, 8, 1), np.uint8))
    mine = random.integers(0, 256, (30, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "mine.npz", images=mine, labels=answers_to(mine).argmax(1))
    table, folder = tmp_path / "answers.csv", tmp_path / "questions"
    options = ["--input", "8x8x1", "--classes", CLASSES, "--budget", 40, "--controls", "noise"]
    options += ["--transfer", tmp_path / "photos.npz", "--test", tmp_path / "mine.npz"]
    options += ["--epochs", 1, "--device", "cpu", "--threads", 1, "--out", tmp_path / "run"]
    # A pool is for students, and not opened here.
    distilled = ("--distil", "--seeds", "0,1", "--pool", "nowhere")
    done = command("questions", f"recorded={table}", *options, *distilled, "--to", folder)
    assert done.exit_code == 0, done.output
    assert "110 images" in done.output
    names = sorted(path.name for path in folder.glob("*.png"))
    assert len(names) == 30 + 40 + 40
    with (folder / "questions.csv").open() as lines:
        listed = {row["name"]: row["purposes"] for row in csv.DictReader(lines)}
    assert sorted(listed) == names
    assert sorted(listed.values()) == sorted(["test"] * 30 + ["transfer"] * 40 + ["noise"] * 40)

    pixels = np.stack([np.array(Image.open(folder / name))[:, :, None] for name in names])
    scores = answers_to(pixels)
    pa.csv.write_csv(pa.table({"name": names, **{f"c{k}": scores[:, k] for k in range(3)}}), table)
    done = command("audit", f"recorded={table}", *options)
    assert done.exit_code == 0, done.output
    result = read_result(tmp_path / "run" / "result.json")
    assert result.black_box.accuracy.value == 1
    assert result.queries.total == 110 + result.queries.canaries
