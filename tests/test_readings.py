"""The study `readings`: the grid, the rule of nearness, shared features, and its files."""

import csv
import io
import json
import math
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import COMMAND, Papagaio
from PIL import Image

from papagaio.errors import BadSettings, Diverged
from papagaio.executors.here import in_process
from papagaio.training import feed
from papagaio.training.machine import Machine
from papagaio_thesis import readings as readings_module
from papagaio_thesis.options import read_options
from papagaio_thesis.page import render
from papagaio_thesis.reading import PartFigures, Reading, ReadingRecord, distance, nearest_first
from papagaio_thesis.readings import ReadingContext, readings_of, study_readings
from papagaio_thesis.records import DivergedRecord, ThesisResult, read_thesis
from papagaio_thesis.tables_of_readings import readings_cells, readings_to_csv

TINY = """
[images]
owned = 12
evaluated = 10
[teacher]
weights = "random"
first_epochs = 1
second_epochs = 1
[studies.readings]
side = [32]
widths = [[128]]
dropout = [0.0, 0.5]
normalisation = ["caffe"]
unfrozen = [1]
brightness = [[0.8]]
"""

READING = Reading(
    side=32,
    pooling="mean",
    widths=(128,),
    dropout=0.0,
    normalisation="caffe",
    unfrozen=2,
    brightness=(0.8, 1.2),
)


def record(reading: Reading = READING, **figures: float) -> ReadingRecord:
    """A teacher with Table 1's figures, except for the ones given."""
    values = {"train_accuracy": 0.86, "train_loss": 0.40, "test_accuracy": 0.81, "test_loss": 0.59}
    values |= figures
    train, test = (
        PartFigures(images=10, accuracy=values[f"{part}_accuracy"], loss=values[f"{part}_loss"])
        for part in ("train", "test")
    )
    return ReadingRecord(
        reading=reading,
        parameters=14_781_642,
        start="random weights",
        owned=12,
        precision="float32",
        train=train,
        test=test,
    )


# the rule


def test_table_1_itself_is_at_distance_0_and_its_parts_are_one_unit_apart() -> None:
    assert record().distance == 0
    train, test = record().train, record().test
    # The one part's figures in the place of the other's: two differences of one unit each.
    assert distance({"train": test, "test": test}) == pytest.approx(math.sqrt(2 / 4))
    assert distance({"train": test, "test": train}) == pytest.approx(1)


@pytest.mark.parametrize(
    "figures",
    [
        {"train_accuracy": 0.86 + 0.05},
        {"test_accuracy": 0.81 - 0.05},
        {"train_loss": 0.59},
        {"test_loss": 0.59 * 0.59 / 0.40},
        {"test_loss": 0.40},
    ],
)
def test_each_of_the_four_numbers_counts_alike(figures: dict[str, float]) -> None:
    assert record(READING, **figures).distance == pytest.approx(1 / 2)


def test_readings_are_sorted_by_the_rule_and_equal_ones_by_name(stored: ThesisResult) -> None:
    other = READING.model_copy(update={"side": 64})
    given = [
        record(test_accuracy=0.7),
        record(READING.model_copy(update={"dropout": 0.5}), test_loss=0.6),
        record(other, test_accuracy=0.7),
        record(READING.model_copy(update={"normalisation": "tf"}), train_loss=float("inf")),
    ]
    ordered = nearest_first(given)
    assert [one.reading.name for one in ordered] == [given[i].reading.name for i in (1, 0, 2, 3)]
    result = stored.model_copy(update={"readings": ordered})
    header, printed, *rows = readings_cells(result)
    assert printed[1] == "Table 1"
    assert printed[-4:] == ["0.86", "0.40", "0.81", "0.59"]
    distances = [float(row[header.index("distance")]) for row in rows]
    assert distances == sorted(distances)
    assert rows[0][header.index("dropout")] == "0.5"
    written = list(csv.DictReader(io.StringIO(readings_to_csv(result))))
    assert [float(row["distance"]) for row in written] == [one.distance for one in ordered]
    for template in ("thesis.md.j2", "thesis.html.j2"):
        page = render(result, template)
        assert "units of 0.05" in page
        assert "REDUCED" in page
        assert page.index("dropout") < page.index("inf")


# the grid


def test_every_reading_has_the_size_of_the_thesiss_teacher_and_none_is_there_twice() -> None:
    readings = readings_of(read_options())
    heads = {(one.side, one.pooling, one.widths) for one in readings}
    assert heads == {
        *((side, "mean", (width,)) for side in (32, 48, 64, 96) for width in (128, 256)),
        *((64, "flatten", (width,)) for width in (64, 32)),
        (96, "flatten", (16,)),
    }
    assert len(readings) == len({one.name for one in readings}) == len(heads) * 2 * 3 * 2 * 2
    # Those that share frozen features follow each other.
    context = ReadingContext(read_options(), None, "random", "", Machine(), Path("r"))
    works = [context.work_of(one) for one in readings]
    changes = sum(before != after for before, after in pairwise(works))
    assert changes + 1 == len(set(works)) == 4 * 3 * 2


def test_a_reading_changes_the_teachers_options_and_nothing_else() -> None:
    options = read_options()
    applied = READING.model_copy(update={"unfrozen": 1, "brightness": (0.5,)}).applied(options)
    assert applied.architecture().normalisation == "caffe"
    assert (applied.teacher.unfrozen, applied.teacher.brightness) == (1, (0.5,))
    assert applied.students == options.students
    same = {"normalisation": "torch"}
    assert READING.model_copy(update=same).applied(options) == options


def test_a_grid_without_a_reading_of_that_size_is_refused(
    tmp_path: Path, papagaio: Papagaio
) -> None:
    (tmp_path / "own.toml").write_text("[studies.readings]\nwidths = [[4096]]\n")
    with pytest.raises(BadSettings, match=r"no combination has 14\.75 to 14\.85"):
        readings_of(read_options(own=tmp_path / "own.toml"))
    ended = papagaio(
        *("reproduce", "thesis", "--experiments", "none", "--studies", "readings"),
        *("--options", tmp_path / "own.toml", "--out", tmp_path / "run"),
    )
    assert ended.code == 2
    assert "14.85 million parameters" in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


# the real command


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "cifar10").mkdir()
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        pictures = []
        for _ in range(20):
            buffer = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(buffer, "PNG")
            pictures.append({"bytes": buffer.getvalue(), "path": None})
        names = {"label": {"names": [f"class {i}" for i in range(10)]}}
        text = json.dumps({"info": {"features": names}})
        table = pa.table({"img": pictures, "label": [i % 10 for i in range(20)]})
        table = table.replace_schema_metadata({"huggingface": text})
        pq.write_table(table, folder / "cifar10" / f"{part}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts how often the features of a variant are computed."""
    times: list[int] = []
    compute = feed.compute_variant

    def counting(*given: object, **more: object) -> object:
        times.append(1)
        return compute(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(feed, "compute_variant", counting)
    return lambda: len(times)


def words_of(folder: Path, data: Path, out: str) -> list[str]:
    (folder / "tiny.toml").write_text(TINY)
    words = [
        *("reproduce", "thesis", "--experiments", "none", "--studies", "readings"),
        *("--options", folder / "tiny.toml", "--data-dir", data, "--out", folder / out),
        *("--device", "cpu", "--precision", "float32", "--threads", 1),
    ]
    return list(map(str, words))


def files_of(out: Path) -> dict[str, bytes]:
    """Every file whose content the settings decide."""
    paths = [*(out / "readings").rglob("*"), out / "tables" / "readings.csv"]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths if path.is_file()}


def test_a_study_that_was_killed_gives_the_same_files_and_features_are_shared(
    tmp_path: Path, cifar10: Path, papagaio: Papagaio, computed: Callable[[], int]
) -> None:
    done = papagaio(*words_of(tmp_path, cifar10, "whole"))
    assert done.code == 0, done.stderr
    assert "2 trainings; complete" in done.stdout
    assert "nearest to Table 1: 32 px, mean, 128, dropout 0" in done.stdout
    # Two readings, of two phases each: one computation of each of four variants a phase.
    assert computed() == 8
    whole = read_thesis(tmp_path / "whole" / "thesis.json")
    assert whole.complete
    assert whole.teacher is None
    assert sorted(one.reading.dropout for one in whole.readings) == [0.0, 0.5]
    assert [one.distance for one in whole.readings] == sorted(
        one.distance for one in whole.readings
    )
    assert {(one.train.images, one.owned) for one in whole.readings} == {(10, 12)}
    # Features and weights are gone with the last reading that needs them.
    assert len(files_of(tmp_path / "whole")) == 3

    killed = tmp_path / "killed"
    command = [str(COMMAND), *words_of(tmp_path, cifar10, "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sign = "readings/work-*/features/*.features"
    while not list(killed.glob(sign)) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert papagaio(*words_of(tmp_path, cifar10, "killed")).code == 0
    # Features from before the kill were found again.
    assert 8 < computed() < 16
    assert files_of(killed) == files_of(tmp_path / "whole")
    assert read_thesis(killed / "thesis.json").readings == whole.readings

    again = papagaio(*words_of(tmp_path, cifar10, "whole"))
    assert "epochs" not in again.stderr
    assert files_of(tmp_path / "whole") == files_of(killed)


def test_a_reading_that_diverges_is_listed_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    options = read_options(own=tmp_path / "tiny.toml")

    def run(_: object, reading: Reading, __: object) -> ReadingRecord:
        if reading.dropout:
            raise Diverged("not finite")
        return record(reading)

    monkeypatch.setattr(readings_module, "run_reading", run)
    context = ReadingContext(options, None, "random", "", Machine(), tmp_path / "readings")
    outcomes = list(study_readings(context, in_process))
    assert [one.note for one in outcomes if isinstance(one, ReadingRecord)] == [
        "32 px, mean, 128, dropout 0, caffe, 1 unfrozen, brightness 0.8: distance 0.00"
    ]
    name = "32 px, mean, 128, dropout 0.5, caffe, 1 unfrozen, brightness 0.8"
    assert [str(one) for one in outcomes if isinstance(one, DivergedRecord)] == [
        f"readings, {name}, torchvision/vgg16, seed 0: not finite"
    ]
