"""Choosing, loading and caching images."""

import fcntl
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import grey
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from papagaio.errors import BadImages, BadSettings
from papagaio.images import choosing
from papagaio.images.choosing import choose, load
from papagaio.images.decode import Picture
from papagaio.images.fit import Fit
from papagaio.images.imageset import digest_images
from papagaio.images.letters import letters
from papagaio.images.named import open_source
from papagaio.images.source import Source, arrays
from papagaio.progress import Message, Step

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("PAPAGAIO_CACHE", str(folder))
    return folder / "images"


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze(2)).save(path)


def photos(folder: Path, count: int, seed: int = 0) -> Pixels:
    images = grey(count, seed)
    for row, image in enumerate(images):
        save(folder / f"{row:03}.png", image)
    return images


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def counted(source: Source) -> tuple[Source, list[int]]:
    """The same source, and the rows that have been read from it."""
    read: list[int] = []

    def counting(row: int) -> Picture:
        read.append(row)
        return source.read(row)

    return replace(source, read=counting), read


# Choosing.


@given(
    shades=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_a_choice_is_the_first_distinct_images_of_a_seeded_order(
    shades: list[int], seed: int, data: st.DataObject
) -> None:
    source = arrays("shades", np.array(shades, np.uint8).reshape(-1, 1, 1, 1))
    budget = data.draw(st.integers(1, len(shades)), label="budget")
    order = np.random.default_rng(seed).permutation(len(shades))
    chosen = choose(source, budget, seed=seed)
    assert chosen.pixels.ravel().tolist() == list(dict.fromkeys(shades[i] for i in order))[:budget]
    assert (chosen.digests == digest_images(chosen.pixels)).all()


def test_where_nothing_repeats_the_choice_is_a_permutation_of_the_rows() -> None:
    source = letters()
    rows = np.random.default_rng(0).permutation(np.arange(4000))[:500]
    chosen = choose(source, 500)
    assert (chosen.pixels == load(source).pixels[rows]).all()
    assert source.labels is not None
    assert (chosen.required_labels == source.labels[rows]).all()


@pytest.mark.parametrize("budget", [-1, 0, 6, 1000])
def test_a_budget_that_cannot_be_spent_is_refused(budget: int) -> None:
    with pytest.raises(BadSettings, match="has 5 images; choose from 1 to 5") as refused:
        choose(arrays("shades", grey(5, 0)), budget)
    assert (refused.value.field, refused.value.value) == ("budget", budget)


def test_only_what_is_chosen_is_decoded(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 60)
    source, read = counted(open_source(str(tmp_path / "photos")))
    chosen = choose(source, 7, shape=(8, 8, 1))
    assert len(chosen) == len(read) == 7
    assert chosen.notes.entries == 60


def test_entries_that_are_not_chosen_are_not_even_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 5)
    for row in range(5, 300):
        (tmp_path / "photos" / f"{row:03}.png").symlink_to(f"{row % 5:03}.png")
    looked = []
    stat = Path.stat

    def counting(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        looked.append(self)
        return stat(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", counting)
    assert len(choose(open_source(str(tmp_path / "photos"), layout="any"), 3)) == 3
    assert len([path for path in looked if path.suffix == ".png"]) < 60


def test_repeated_images_are_replaced_by_the_next_in_the_order(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos", 30)
    for row in range(0, 20, 2):
        save(tmp_path / "photos" / f"{row:03}.png", images[0])
    chosen = choose(open_source(str(tmp_path / "photos")), 15)
    assert len(chosen) == len(chosen.distinct()) == 15
    assert chosen.notes.repeated > 0
    everything = choose(open_source(str(tmp_path / "photos")), 30)
    assert len(everything) == 21
    assert everything.notes.repeated == 9


def test_broken_files_are_replaced_and_listed(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 100)
    broken = [tmp_path / "photos" / f"{row:03}.png" for row in (3, 50, 97)]
    for path in broken:
        damage(path)
    source = open_source(str(tmp_path / "photos"), layout="any")
    for _ in range(2):  # decoded, then from the cache
        chosen = choose(source, 97)
        assert len(chosen) == 97
        assert sorted(chosen.notes.broken) == [str(path) for path in broken]


def test_too_many_broken_files_are_refused_and_listed(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 40)
    broken = (3, 11, 12, 20, 31, 39)
    for row in broken:
        damage(tmp_path / "photos" / f"{row:03}.png")
    source = open_source(str(tmp_path / "photos"), layout="any")
    tried = set(np.random.default_rng(0).permutation(40)[:30].tolist()) & set(broken)
    for _ in range(2):
        with pytest.raises(BadImages, match=f"{len(tried)} of 30 images tried, more than 5%") as no:
            choose(source, 30)
        for row in tried:
            assert f"{row:03}.png: damaged image" in str(no.value)


def test_a_folder_of_broken_files_is_given_up_early(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for row in range(500):
        (tmp_path / "photos" / f"{row:03}.jpg").write_text("no image")
    source, read = counted(open_source(str(tmp_path / "photos"), layout="any"))
    with pytest.raises(BadImages, match="not a readable image"):
        choose(source, 400, shape=(2000, 2000, 3))
    assert len(read) < 250


def test_an_image_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 30)
    save(tmp_path / "photos" / "004.png", grey(1, 0, side=9)[0])
    with pytest.raises(BadImages, match=r"004\.png: 9 x 9 pixels where 8 x 8") as refused:
        choose(open_source(str(tmp_path / "photos")), 30, shape=(8, 8, 1))
    assert refused.value.field == "resize"


# Loading.


def test_all_images_are_loaded_in_order_with_their_labels(tmp_path: Path) -> None:
    images = grey(5, 0)
    for row, image in enumerate(images):
        save(tmp_path / "photos" / "ab"[row // 3] / f"{row}.png", image)
    loaded = load(open_source(str(tmp_path / "photos")))
    assert isinstance(loaded.pixels.base, np.memmap)
    assert not loaded.pixels.flags.writeable
    assert (loaded.pixels == images).all()
    assert (loaded.digests == digest_images(images)).all()
    assert loaded.required_labels.tolist() == [0, 0, 0, 1, 1]


def test_images_in_memory_need_no_file(cache: Path) -> None:
    images = grey(5, 0)
    assert (load(arrays("mine", images)).pixels == images).all()
    assert not cache.exists()


def test_every_broken_file_is_named_at_once(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 80)
    for row in (0, 40, 79):
        damage(tmp_path / "photos" / f"{row:03}.png")
    save(tmp_path / "photos" / "007.png", grey(1, 0, side=9)[0])
    source = open_source(str(tmp_path / "photos"))
    for _ in range(2):
        with pytest.raises(BadImages, match="4 of 80 images") as refused:
            load(source)
        for words in ("000.png: damaged", "040.png: d", "079.png: d", "007.png: 9 x 9 pixels"):
            assert words in str(refused.value)
    images = grey(80, 5)
    for row in (0, 7, 40, 79):
        save(tmp_path / "photos" / f"{row:03}.png", images[row])
    assert len(load(source)) == 80


def test_one_broken_file_is_named_alone(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    damage(tmp_path / "photos" / "003.png")
    with pytest.raises(BadImages, match=r"^[^:]*003\.png: damaged image"):
        load(open_source(str(tmp_path / "photos")))


def test_decoding_tells_how_far_it_is(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 20)
    source = open_source(str(tmp_path / "photos"))
    steps: list[object] = []
    load(source, progress=steps.append)
    assert steps == [Step("decoding photos", done, 20, "images") for done in range(1, 21)]
    steps.clear()
    load(source, progress=steps.append)
    assert steps == []


# The EXIF rotation.


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_rotation_is_counted_and_applied_only_when_asked_for(
    tmp_path: Path, orientation: int
) -> None:
    upright = grey(1, 3)[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "photos").mkdir()
    Image.fromarray(upright.squeeze(2)).save(tmp_path / "photos" / "a.png", exif=exif)
    with Image.open(tmp_path / "photos" / "a.png") as image:
        from PIL import ImageOps  # noqa: PLC0415

        expected = np.asarray(ImageOps.exif_transpose(image))
    source = open_source(str(tmp_path / "photos"))
    stored, rotated = load(source), load(source, fit=Fit(exif="rotate"))
    assert (stored.pixels[0] == upright).all()
    assert (rotated.pixels[0, ..., 0] == expected).all()
    assert stored.notes.rotated == rotated.notes.rotated == (orientation != 1)


# The cache.


def test_a_larger_budget_decodes_only_what_is_missing(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 50)
    source, read = counted(open_source(str(tmp_path / "photos")))
    small = choose(source, 10, shape=(8, 8, 1))
    large = choose(source, 25, shape=(8, 8, 1))
    assert len(read) == len(set(read)) == 25
    assert (large.pixels[:10] == small.pixels).all()
    assert (choose(source, 10, shape=(8, 8, 1)).digests == small.digests).all()
    assert len(read) == 25


def test_a_file_that_changes_is_read_again_and_the_old_set_keeps_its_pixels(
    tmp_path: Path,
) -> None:
    photos(tmp_path / "photos", 20)
    path = str(tmp_path / "photos")
    before = load(open_source(path))
    pixels = before.pixels.copy()
    new = grey(1, 9)[0]
    save(tmp_path / "photos" / "011.png", new)
    assert (load(open_source(path)).pixels[11] == new).all()
    assert (before.pixels == pixels).all()


@pytest.mark.parametrize("kind", ["shape", "fit", "seed"])
def test_other_shapes_rules_and_seeds_are_other_images(tmp_path: Path, kind: str) -> None:
    photos(tmp_path / "photos", 20)
    source = open_source(str(tmp_path / "photos"))
    one = choose(source, 5, shape=(6, 4, 1), fit=Fit("stretch"))
    other = choose(
        source,
        5,
        shape=(4, 6, 1) if kind == "shape" else (6, 4, 1),
        fit=Fit("crop" if kind == "fit" else "stretch"),
        seed=1 if kind == "seed" else 0,
    )
    assert one.digest != other.digest


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def lengthen(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes() + bytes(size))


def remove(path: Path, _: int) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("suffix", "harm", "size"),
    [
        ("index", cut, 70),
        ("index", cut, -20),
        ("index", lengthen, 20),
        ("index", lengthen, 200),
        ("index", remove, 0),
        ("pixels", cut, -1),
        ("pixels", lengthen, 30),
        ("pixels", remove, 0),
    ],
)
def test_a_cache_that_was_cut_short_is_completed(
    tmp_path: Path, cache: Path, suffix: str, harm: Callable[[Path, int], None], size: int
) -> None:
    photos(tmp_path / "photos", 50)
    source = open_source(str(tmp_path / "photos"))
    choose(source, 20)
    (file,) = cache.glob(f"*.{suffix}")
    harm(file, size)
    found = choose(source, 30)
    assert (found.digests == digest_images(found.pixels)).all()
    rows = np.random.default_rng(0).permutation(50)[:30]
    assert (found.pixels == load(source).pixels[rows]).all()


SLOWLY = """
import sys, time
from dataclasses import replace
from papagaio.images import choosing
from papagaio.images.named import open_source

choosing._FEWEST_PER_BLOCK = choosing._MOST_PER_BLOCK = 8
source = open_source(sys.argv[1])

def slowly(row):
    time.sleep(float(sys.argv[2]))
    return source.read(row)

found = choosing.choose(replace(source, read=slowly), int(sys.argv[3]), shape=(8, 8, 1))
print(found.digest)
"""


def slowly(folder: Path, seconds: float, budget: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SLOWLY, str(folder), str(seconds), str(budget)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def is_locked(path: Path) -> bool:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def expected(images: Pixels, budget: int) -> str:
    return load(
        arrays("x", images[np.random.default_rng(0).permutation(len(images))[:budget]])
    ).digest


def test_a_killed_process_loses_at_most_the_block_it_was_reading(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photos(tmp_path / "photos", 200)
    process = slowly(tmp_path / "photos", 0.02, 200)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 51 * 20 for path in cache.glob("*.index")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    monkeypatch.setattr(choosing, "_MOST_PER_BLOCK", 8)
    source, read = counted(open_source(str(tmp_path / "photos")))
    found = choose(source, 200, shape=(8, 8, 1))
    assert found.digest == expected(images, 200)
    assert len(read) < 185


def test_two_processes_at_once_share_one_cache(tmp_path: Path, cache: Path) -> None:
    images = photos(tmp_path / "photos", 100)
    budgets = (60, 80, 40)
    processes = [slowly(tmp_path / "photos", 0.005, budget) for budget in budgets]
    for process, budget in zip(processes, budgets, strict=True):
        stdout, _ = process.communicate(timeout=120)
        assert stdout.strip() == expected(images, budget)
    assert len(list(cache.iterdir())) == 2
    (pixels,) = cache.glob("*.pixels")
    assert pixels.stat().st_size == 80 * 64


def test_who_waits_for_another_process_is_told(tmp_path: Path, cache: Path) -> None:
    photos(tmp_path / "photos", 40)
    process = slowly(tmp_path / "photos", 0.05, 40)
    while not any(is_locked(path) for path in cache.glob("*.index")):
        time.sleep(0.01)
    steps: list[Step | Message] = []
    source, read = counted(open_source(str(tmp_path / "photos")))
    assert len(choose(source, 40, shape=(8, 8, 1), progress=steps.append)) == 40
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert isinstance(steps[0], Step)
    assert steps[0].task == "waiting for another process that decodes photos"
    assert read == []


def test_a_cache_that_cannot_be_written_says_which_variable_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 3)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PAPAGAIO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BadSettings, match="set PAPAGAIO_CACHE"):
        load(open_source(str(tmp_path / "photos")))


def test_parquet_and_npz_are_cached_too(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    images = grey(30, 0)
    data = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.squeeze(2)).save(file, "PNG")
        data.append(file.getvalue())
    pq.write_table(pa.table({"image": data[:20]}), tmp_path / "a.parquet", row_group_size=7)
    np.savez(tmp_path / "b.npz", images=images[:20])
    for name in ("a.parquet", "b.npz"):
        source, read = counted(open_source(str(tmp_path / name)))
        first = choose(source, 12, shape=(8, 8, 1))
        again = choose(source, 12, shape=(8, 8, 1))
        assert len(read) == 12
        rows = np.random.default_rng(0).permutation(20)[:12]
        assert (first.pixels == images[rows]).all()
        assert (again.pixels == images[rows]).all()
