import io
import json
import math
import re
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import BOX, Ended, Papagaio, Tiny, grey
from numpy.typing import ArrayLike
from PIL import Image
from safetensors.torch import save_file

from papagaio import files
from papagaio.errors import BadImages
from papagaio.images.decode import decode
from papagaio.ledger import Ledger
from papagaio.networks.named import build_student
from papagaio.result import read_result

FACTORY = """
import numpy as np

from papagaio.networks.named import build_student


def predict():
    return build_student("small-cnn", "random", np.zeros((1, 8, 8, 1), np.uint8), 3, seed=0).network
"""


def refused(ended: Ended, *words: str) -> None:
    """The command ended with the user's mistake, in one line with these words."""
    assert ended.code == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.complaint


def refused_with_nothing_left(ended: Ended, tiny: Tiny, *words: str) -> None:
    refused(ended, *words)
    assert tiny.asked() == []
    assert not tiny.out.exists()


def answers_in(ledger: Path) -> int:
    with Ledger(ledger) as opened:
        assert list(opened.problems()) == []
        return sum(row.answers for row in opened.totals())


def write_png(path: Path, count: int = 1, side: int = 8) -> None:
    path.mkdir(exist_ok=True)
    for row, pixels in enumerate(grey(count, 0, side)):
        Image.fromarray(pixels.squeeze(2)).save(path / f"{side}-{row}.png")


# Images: sources.


@pytest.mark.parametrize("option", ["transfer", "test", "own_data"])
def test_a_missing_folder_is_named(tiny: Tiny, papagaio: Papagaio, option: str) -> None:
    ended = papagaio(*tiny.audit(**{option: tiny.folder / "nowhere"}))
    refused_with_nothing_left(ended, tiny, str(tiny.folder / "nowhere"), "no such folder")


@pytest.mark.parametrize("option", ["transfer", "test"])
def test_an_empty_folder_is_named(tiny: Tiny, papagaio: Papagaio, option: str) -> None:
    (tiny.folder / "empty").mkdir()
    ended = papagaio(*tiny.audit(**{option: tiny.folder / "empty"}))
    refused_with_nothing_left(ended, tiny, "empty: no images found; name a source")


def test_a_corrupt_image_among_good_ones_is_named(tiny: Tiny, papagaio_process: Papagaio) -> None:
    photos = tiny.folder / "photos"
    write_png(photos, 12)
    whole = (photos / "8-3.png").read_bytes()
    (photos / "8-3.png").write_bytes(whole[:-30])
    ended = papagaio_process(*tiny.audit(transfer=photos))
    refused_with_nothing_left(
        ended,
        tiny,
        str(photos / "8-3.png"),
        "repair or remove",
    )


def test_a_file_that_is_no_image_is_named(tiny: Tiny, papagaio: Papagaio) -> None:
    photos = tiny.folder / "photos"
    write_png(photos, 12)
    (photos / "notes.jpg").write_text("no image")
    ended = papagaio(*tiny.audit(transfer=photos, budget=13))
    refused_with_nothing_left(ended, tiny, "notes.jpg: not a readable image")


def test_mixed_sizes_without_a_rule_are_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    photos = tiny.folder / "photos"
    write_png(photos, 12)
    write_png(photos, 1, side=9)
    ended = papagaio(*tiny.audit(transfer=photos, budget=13))
    refused_with_nothing_left(ended, tiny, "9-0.png: 9 x 9 pixels where 8 x 8", "--resize")


def test_colour_where_grey_is_needed_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    np.savez(tiny.folder / "colour.npz", images=np.zeros((14, 8, 8, 3), np.uint8))
    ended = papagaio(*tiny.audit(transfer=tiny.folder / "colour.npz"))
    refused_with_nothing_left(ended, tiny, "3 channels where 1", "--colour", "convert")


def bomb(side: int = 9000) -> bytes:
    """A few KB of PNG that decode to 81 MB of pixels."""
    packed = zlib.compressobj(9)
    row = b"\0" * (1 + side // 8)
    data = b"".join(packed.compress(row) for _ in range(side)) + packed.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + check

    header = side.to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    photos = tiny.folder / "photos"
    write_png(photos, 12)
    (photos / "bomb.png").write_bytes(bomb())
    ended = papagaio(*tiny.audit(transfer=photos, budget=13))
    refused_with_nothing_left(ended, tiny, "bomb.png: 9000 x 9000 pixels", "shrink it")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb())
    assert path.stat().st_size < 20_000
    with Image.open(path) as image:  # a real image, that Pillow would decode without a word
        assert image.size == (9000, 9000)
    # In a process of its own: the most memory this one ever used would hide the growth.
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from papagaio.errors import BadImages; from papagaio.images.decode import decode\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode(data, 'bomb')\n"
        "except BadImages: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 8_000  # KB; the pixels would be 81,000


def test_a_file_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(BadImages, match=r"more than 50,000,000 bytes.*shrink it"):
        decode(b"\0" * 50_000_001, "huge.png")


# Images: kinds. Two pixels, one dark and one light, so that a conversion shows.


Value = int | tuple[int, ...]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def two(mode: str, dark: Value, light: Value) -> Image.Image:
    image = Image.new(mode, (2, 1))
    image.putpixel((0, 0), dark)
    image.putpixel((1, 0), light)
    return image


def palette(transparency: int | None = None) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 210, 220])
    image.putpixel((1, 0), 1)
    return encoded(image, transparency=transparency)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (2, 1), colour) for colour in ("red", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (encoded(two("1", 0, 1)), [[[0], [255]]]),
        (encoded(two("L", 10, 200)), [[[10], [200]]]),
        (encoded(two("RGB", (1, 2, 3), (4, 5, 6))), [[[1, 2, 3], [4, 5, 6]]]),
        (palette(), [[[10, 20, 30], [200, 210, 220]]]),
        (palette(transparency=0), [[[255, 255, 255], [200, 210, 220]]]),
        (encoded(two("RGBA", (1, 2, 3, 0), (4, 5, 6, 255))), [[[255, 255, 255], [4, 5, 6]]]),
        (encoded(two("RGBA", (0, 0, 0, 51), (4, 5, 6, 255))), [[[204, 204, 204], [4, 5, 6]]]),
        (encoded(two("LA", (10, 0), (200, 255))), [[[255, 255, 255], [200, 200, 200]]]),
        (
            encoded(Image.new("CMYK", (2, 1), (0, 255, 255, 0)), "JPEG", quality=100),
            [[[254, 0, 0]] * 2],
        ),
    ],
    ids=["1", "L", "RGB", "P", "P-transparent", "RGBA", "RGBA-half", "LA", "CMYK"],
)
def test_a_kind_of_image_is_converted_by_its_rule(
    data: bytes, pixels: list[list[list[int]]]
) -> None:
    found = decode(data, "here").pixels
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - np.array(pixels)).max() <= (
        1 if data[:2] == b"\xff\xd8" else 0
    )
    assert found.shape == np.array(pixels).shape


def deep_colour() -> bytes:
    """A PNG of 16 bits a channel, in colour, which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + check

    header = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes((16, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + bytes(range(12))))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "data", "remedy"),
    [
        ("grey.png", encoded(two("I;16", 300, 60_000)), "convert it to 8 bits"),
        ("deep.png", deep_colour(), "convert it to 8 bits"),
        ("moving.png", animated("PNG"), "save the one frame that is meant"),
        ("moving.webp", animated("WEBP"), "save the one frame that is meant"),
        ("moving.gif", animated("GIF"), "repair or remove it"),
    ],
    ids=["grey-16", "colour-16", "APNG", "WebP", "GIF"],
)
def test_a_kind_of_image_that_would_need_a_guess_is_refused(
    tiny: Tiny, papagaio: Papagaio, name: str, data: bytes, remedy: str
) -> None:
    photos = tiny.folder / "photos"
    write_png(photos, 12)
    (photos / name).write_bytes(data)
    ended = papagaio(*tiny.audit(transfer=photos, budget=13))
    refused_with_nothing_left(ended, tiny, str(photos / name), remedy)


# Images: labels, and the two archive formats.


def parquet_of(path: Path, labels: Sequence[object], names: list[str] | None = None) -> Path:
    data = [encoded(Image.fromarray(p.squeeze(2))) for p in grey(len(labels), 2)]
    table = pa.table({"image": data, "label": labels})
    if names is not None:
        info = {"info": {"features": {"label": {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path)
    return path


def test_npz_labels_beyond_the_named_classes_are_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    np.savez(tiny.folder / "test.npz", images=grey(3, 2), labels=[0, 1, 2], classes=["no", "yes"])
    ended = papagaio(*tiny.audit(classes=2))
    refused_with_nothing_left(
        ended, tiny, "test: label 2 of image 2", "the black box has 2 classes"
    )


def test_parquet_labels_beyond_the_named_classes_are_refused(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    path = parquet_of(tiny.folder / "test.parquet", [0, -1, 1], ["no", "yes"])
    ended = papagaio(*tiny.audit(test=path))
    refused_with_nothing_left(
        ended, tiny, "test: label -1 of image 1", "the black box has 3 classes"
    )


@pytest.mark.parametrize("option", ["test", "own_data"])
def test_labels_beyond_the_classes_option_are_refused(
    tiny: Tiny, papagaio: Papagaio, option: str
) -> None:
    ended = papagaio(*tiny.audit(classes=2, **{option: tiny.folder / "test.npz"}))
    refused_with_nothing_left(ended, tiny, "test: label 2 of image 2", "--classes")


def test_a_test_set_of_one_class_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    np.savez(tiny.folder / "test.npz", images=grey(3, 2), labels=[0, 0, 0])
    ended = papagaio(*tiny.audit(unchecked=None))
    refused(ended, "always naming the most frequent class (100 %)", "of one class")
    assert tiny.asked() == [3]


def test_missing_test_labels_are_asked_for(tiny: Tiny, papagaio: Papagaio) -> None:
    np.savez(tiny.folder / "test.npz", images=grey(9, 2))
    ended = papagaio(*tiny.audit())
    refused_with_nothing_left(ended, tiny, "test: no labels", "array `labels`")


@pytest.mark.parametrize(("option", "example"), [("input", "224x224x3"), ("classes", "10")])
def test_what_a_function_does_not_say_is_asked_for(
    tiny: Tiny, papagaio: Papagaio, option: str, example: str
) -> None:
    ended = papagaio(*tiny.audit(**{option: None}))
    words = f"--{option}: {tiny.folder / 'box.py'}:predict does not declare it"
    refused_with_nothing_left(ended, tiny, words, f"for example {example}")


def test_own_data_without_labels_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    np.savez(tiny.folder / "own.npz", images=grey(9, 3))
    ended = papagaio(*tiny.audit(own_data=tiny.folder / "own.npz"))
    refused_with_nothing_left(ended, tiny, "own: no labels")


def test_parquet_labels_that_are_no_integers_are_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    path = parquet_of(tiny.folder / "test.parquet", ["no", "yes", None])
    ended = papagaio(*tiny.audit(test=path))
    refused_with_nothing_left(ended, tiny, "test: no labels", "a column of integers")


def test_parquet_without_an_image_column_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    path = tiny.folder / "words.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), path)
    ended = papagaio(*tiny.audit(transfer=path))
    refused_with_nothing_left(ended, tiny, str(path), "no image column", "text, label")


def test_a_file_that_is_not_parquet_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    path = tiny.folder / "words.parquet"
    path.write_text("not Parquet at all")
    ended = papagaio(*tiny.audit(transfer=path))
    refused_with_nothing_left(ended, tiny, str(path), "not a readable Parquet file")


def test_parquet_that_is_damaged_inside_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    path = parquet_of(tiny.folder / "photos.parquet", list(range(14)))
    data = bytearray(path.read_bytes())
    data[4:200] = b"\xff" * 196
    path.write_bytes(data)
    ended = papagaio(*tiny.audit(transfer=path))
    refused_with_nothing_left(ended, tiny, str(path))


def test_parquet_rows_without_bytes_are_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    path = tiny.folder / "links.parquet"
    pq.write_table(pa.table({"image": pa.array([None, None], pa.binary())}), path)
    ended = papagaio(*tiny.audit(transfer=path, budget=2))
    refused_with_nothing_left(ended, tiny, f"{path}, row 0: no image bytes")


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, grey(2, 0))


def cut_short(path: Path) -> None:
    np.savez_compressed(path, images=grey(20, 0))
    path.write_bytes(path.read_bytes()[:300])


def damaged_inside(path: Path) -> None:
    np.savez_compressed(path, images=grey(20, 0))
    data = bytearray(path.read_bytes())
    data[100:110] = bytes(10)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("not NumPy at all"),
        lambda path: path.write_bytes(b""),
        lambda path: np.savez(path, images=np.array([{"a": 1}], object)),
        npy,
        cut_short,
        damaged_inside,
    ],
    ids=["text", "empty", "pickle", "npy", "cut-short", "damaged"],
)
def test_what_is_no_plain_npz_is_refused(
    tiny: Tiny, papagaio: Papagaio, write: Callable[[Path], object]
) -> None:
    path = tiny.folder / "broken.npz"
    write(path)
    ended = papagaio(*tiny.audit(transfer=path))
    refused_with_nothing_left(ended, tiny, str(path), "not a plain NumPy archive", "numpy.savez")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"pictures": grey(2, 0)}, "needs an array `images` of uint8"),
        ({"images": np.zeros((2, 8, 8), np.float32)}, "np.rint(images * 255).astype(np.uint8)"),
        ({"images": np.zeros((2, 8, 8, 4), np.uint8)}, "4 channels; 1 or 3 are needed"),
        ({"images": np.uint8(0), "labels": [0]}, "has shape () and needs N x H x W"),
        ({"images": grey(2, 0), "labels": [0]}, "one number for each of the 2 images"),
        ({"images": grey(2, 0), "labels": [0.5, 1.0]}, "`labels`"),
        ({"images": grey(2, 0), "classes": 10}, "`classes` must be"),
    ],
)
def test_arrays_of_another_kind_are_refused(
    tiny: Tiny, papagaio: Papagaio, content: dict[str, ArrayLike], words: str
) -> None:
    path = tiny.folder / "other.npz"
    np.savez(path, allow_pickle=False, **content)
    ended = papagaio(*tiny.audit(transfer=path))
    refused_with_nothing_left(ended, tiny, str(path), words)


# The run directory.


def test_a_run_among_the_images_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    folder = tiny.folder / "photos"
    folder.mkdir()
    ended = papagaio(*tiny.audit(transfer=folder, out=folder / "run"))
    assert ended.code == 2
    assert f"--transfer {folder}: the run directory {folder / 'run'} would lie" in ended.complaint
    box, *_ = (word for word in tiny.audit() if word.endswith("box.py:predict"))
    sets = f"--transfer={folder}", f"--test={tiny.folder / 'test.npz'}"
    ended = papagaio(
        "estimate", box, "--input=8x8x1", "--classes=3", *sets, f"--out={folder / 'run'}"
    )
    assert f"--out {folder / 'run'}: the run directory" in ended.complaint
    assert [*folder.iterdir()] == []


def test_the_result_of_another_audit_is_not_overwritten(tiny: Tiny, papagaio: Papagaio) -> None:
    assert papagaio(*tiny.audit()).code == 0
    before = (tiny.out / "result.json").read_bytes()
    np.savez(tiny.folder / "others.npz", images=grey(14, 5))
    ended = papagaio(*tiny.audit(transfer=tiny.folder / "others.npz"))
    assert ended.code == 2
    assert "holds the audit of" in ended.complaint
    assert "name another folder" in ended.complaint
    assert (tiny.out / "result.json").read_bytes() == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where none can be made")
def test_a_folder_that_cannot_be_made_is_named(tiny: Tiny, papagaio: Papagaio) -> None:
    ended = papagaio(*tiny.audit(out="/proc/papagaio"))
    assert ended.code == 2
    assert "/proc/papagaio" in ended.complaint


# The black box: what it answers.

RAISES_ONCE_BROKEN = BOX.replace(
    "    return scores",
    """    if Path(__file__).with_name("broken").exists() and images.sum() > 0:
        if len(Path(__file__).with_name("asked.log").read_text().split()) > 2:
            raise ConnectionError("the line is dead")
    return scores""",
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("return scores[:, :2]", "returned shape (4, 2), but 4 images of 3 classes need (4, 3)"),
        ("return scores[:1]", "returned shape (1, 3), but 4 images of 3 classes need (4, 3)"),
        ("return scores.tolist()", "returned list; return a NumPy array of float32"),
        ("return None", "returned NoneType; return a NumPy array"),
        ("scores[1] = np.nan; return scores", "returned NaN or infinity for image 1"),
        ("scores[2] = [-1, 1, 1]; return scores", "returned a negative score for image 2"),
        (
            "return scores * 2",
            "returned scores that sum to 2 and not to 1",
        ),
        ("return scores.astype('float64')", "returned float64; return float32"),
        ("raise ValueError('two\\nlines')", "raised ValueError: two lines"),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
    ],
)
def test_answers_that_break_the_contract_are_refused(
    tiny: Tiny, papagaio: Papagaio, line: str, words: str
) -> None:
    tiny.box(BOX.replace("return scores", line))
    ended = papagaio(*tiny.audit())
    refused(ended, f"{tiny.folder / 'box.py'}:predict {words}")
    # One request was sent, and possibly paid for: it stays on record, without answers.
    assert tiny.asked() == [4]
    assert answers_in(tiny.ledger) == 0
    assert not (tiny.out / "result.json").exists()


def test_answers_paid_before_the_black_box_failed_are_kept_and_not_asked_again(
    tiny: Tiny, papagaio: Papagaio, papagaio_process: Papagaio
) -> None:
    tiny.box(RAISES_ONCE_BROKEN)
    (tiny.folder / "broken").touch()
    ended = papagaio_process(*tiny.audit())
    refused(ended, "raised ConnectionError: the line is dead", "answers already paid for are kept")
    assert tiny.asked() == [4, 4, 1]
    assert answers_in(tiny.ledger) == 8

    (tiny.folder / "broken").unlink()
    again = papagaio(*tiny.audit())
    assert again.code == 0, again.stderr
    # The image of the failed request, then the 12 transfer images; two canaries each time.
    assert tiny.asked()[3:] == [3, 4, 4, 4, 2]
    result = json.loads((tiny.out / "result.json").read_text())
    assert result["queries"]["total"] == 25
    assert result["queries"]["interrupted"] == 1


def test_a_mended_file_goes_on_with_the_identity_that_the_message_names(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    tiny.box(RAISES_ONCE_BROKEN)
    (tiny.folder / "broken").touch()
    ended = papagaio(*tiny.audit())
    named = re.search(r"identity (\S+:[0-9a-f]{64})", ended.complaint)
    assert named, ended.complaint
    tiny.box(BOX)
    again = papagaio(*tiny.audit(identity=named[1]))
    assert again.code == 0, again.stderr
    assert sum(tiny.asked()[3:]) == 4 + 9 + 2 * 2  # canaries


def test_ctrl_c_says_that_the_same_command_goes_on(tiny: Tiny, papagaio: Papagaio) -> None:
    tiny.box(BOX.replace("return scores", "raise KeyboardInterrupt"))
    ended = papagaio(*tiny.audit())
    assert ended.code == 130
    assert "interrupted; run the same command again to resume" in ended.complaint


# The black box: what is named.


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("model.py", "model.py: write package.module:function or file.py:function"),
        (":predict", "write package.module:function"),
        ("{}/nowhere.py:predict", "nowhere.py: no such file"),
        ("{}/box.py:foretell", "has no function foretell; it has: predict"),
        ("no_such_package.module:predict", "no_such_package.module: could not be imported"),
        ("telepathy=host", "no package registers the kind telepathy"),
    ],
)
def test_a_black_box_that_is_not_there_is_named(
    tiny: Tiny, papagaio: Papagaio, spec: str, words: str
) -> None:
    ended = papagaio(*tiny.audit(box=spec.format(tiny.folder)))
    refused_with_nothing_left(ended, tiny, words)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no licence')", "could not be run (RuntimeError: no licence)"),
        ("import no_such_package", "could not be run (ModuleNotFoundError"),
        ("def predict(:", "could not be run (SyntaxError"),
        ("import sys; sys.exit('usage: box')", "could not be run (SystemExit: usage: box)"),
    ],
)
def test_a_file_that_raises_on_import_is_named(
    tiny: Tiny, papagaio: Papagaio, source: str, words: str
) -> None:
    ended = papagaio(*tiny.audit(box=tiny.box(source)))
    refused_with_nothing_left(ended, tiny, str(tiny.folder / "box.py"), words)


def test_a_black_box_may_lie_in_a_folder_with_an_equals_sign(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    path = tiny.folder / "rate=3" / "box.py"
    path.parent.mkdir()
    path.write_text(BOX)
    ended = papagaio(*tiny.audit(box=f"{path}:predict"), "--dry-run")
    assert ended.code == 0, ended.stderr


def test_a_file_may_hold_dataclasses_with_postponed_annotations(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    record = "from dataclasses import dataclass\n\n@dataclass\nclass Record:\n    size: int\n"
    tiny.box(f"from __future__ import annotations\n{record}{BOX}")
    ended = papagaio(*tiny.audit(), "--dry-run")
    assert ended.code == 0, ended.stderr


# Weights.


def own_weights(tiny: Tiny, classes: int = 3) -> Path:
    path = tiny.folder / "own.safetensors"
    images = np.zeros((1, 8, 8, 1), np.uint8)
    student = build_student("small-cnn", "random", images, classes, seed=0)
    save_file(student.network.state_dict(), path)
    return path


@pytest.mark.parametrize("option", ["weights", "initial"])
def test_weights_that_are_no_safetensors_are_named(
    tiny: Tiny, papagaio: Papagaio, option: str
) -> None:
    path = tiny.folder / "broken.safetensors"
    path.write_bytes(b"\x80\x04 a pickle, perhaps")
    tiny.box(FACTORY if option == "weights" else BOX)
    ended = papagaio(*tiny.audit(**{option: path}))
    refused_with_nothing_left(ended, tiny, str(path), "not a readable safetensors file")


@pytest.mark.parametrize("option", ["weights", "initial"])
def test_missing_weights_are_named(tiny: Tiny, papagaio: Papagaio, option: str) -> None:
    path = tiny.folder / "nowhere.safetensors"
    tiny.box(FACTORY if option == "weights" else BOX)
    ended = papagaio(*tiny.audit(**{option: path}))
    refused_with_nothing_left(ended, tiny, str(path), "not a readable safetensors file")


def test_weights_that_do_not_fit_the_black_box_are_named(tiny: Tiny, papagaio: Papagaio) -> None:
    path = own_weights(tiny, classes=4)
    ended = papagaio(*tiny.audit(box=tiny.box(FACTORY), weights=path))
    refused_with_nothing_left(ended, tiny, f"--weights {path}: do not fit")


def test_initial_weights_that_do_not_fit_the_student_are_named(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    path = own_weights(tiny)
    ended = papagaio(*tiny.audit(initial=path, students="residual-cnn"))
    refused_with_nothing_left(ended, tiny, f"{path} does not fit this network")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 7", "returned int; with weights, it has to build a torch module"),
        ("raise OSError('no base model')", "raised OSError: no base model"),
    ],
)
def test_a_factory_that_builds_no_module_is_named(
    tiny: Tiny, papagaio: Papagaio, body: str, words: str
) -> None:
    spec = tiny.box(f"def predict():\n    {body}\n")
    ended = papagaio(*tiny.audit(box=spec, weights=own_weights(tiny)))
    refused_with_nothing_left(ended, tiny, spec, words)


def test_the_black_boxs_own_weights_are_no_start_for_a_copy(tiny: Tiny, papagaio: Papagaio) -> None:
    path = own_weights(tiny)
    ended = papagaio(*tiny.audit(box=tiny.box(FACTORY), weights=path, initial=path))
    refused_with_nothing_left(ended, tiny, f"--initial {path}", "the black box's own weights")


# Options.


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_student_that_does_not_take_the_images_is_named_before_anything_is_spent(
    tiny: Tiny, papagaio: Papagaio, precision: str
) -> None:
    ended = papagaio(*tiny.audit(students="torchvision/squeezenet1_1", precision=precision))

    assert ended.code == 2
    assert "squeezenet1_1: it does not take images of 8 x 8" in ended.complaint
    assert tiny.asked() == []
    assert not tiny.out.exists()


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (0, "--budget 0: should be greater than or equal to 1"),
        (-3, "--budget -3: should be greater than or equal to 1"),
        (15, "--budget 15: transfer has 14 images; choose from 1 to 14"),
        (1_000_000, "--budget 1000000: transfer has 14 images; choose from 1 to 14"),
    ],
)
def test_a_budget_that_cannot_be_spent_says_what_can(
    tiny: Tiny, papagaio: Papagaio, budget: int, words: str
) -> None:
    refused_with_nothing_left(papagaio(*tiny.audit(budget=budget)), tiny, words)


def test_repeated_images_are_asked_about_once_and_said_to_be_fewer(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    images = grey(14, 1)
    images[10:] = images[0]
    np.savez(tiny.folder / "transfer.npz", images=images)
    ended = papagaio(*tiny.audit(budget=12))
    assert ended.code == 0
    assert ended.stdout.startswith("From 10 answers about transfer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgets": "5,13"}, ["--budgets 5,13", "between 1 and the budget, 12"]),
        ({"budgets": "0"}, ["--budgets 0", "between 1 and the budget, 12"]),
        (
            {"students": "resnet18"},
            ["--students resnet18", "timm/resnet18"],
        ),
        ({"students": "timm/resnet81"}, ["resnet81", "timm/resnet18"]),
        ({"students": "torchvision/resnet81"}, ["resnet81", "torchvision/resnet18"]),
        ({"students": "small-cn"}, ["--students small-cn", "small-cnn"]),
        (
            {"recipes": "cake"},
            ["--recipes cake", "recovered-logits, censored-logits, labels"],
        ),
        ({"responses": "top-2"}, ["responses", "'top-1'"]),
        ({"controls": "mirrors"}, ["--controls mirrors", "shuffled, noise, labels, own-data"]),
        ({"device": "abacus"}, ["--device abacus", "choose auto or cpu"]),
        ({"transfer": None}, ["--transfer: is required"]),
        ({"box": None}, ["BLACKBOX: is required"]),
    ],
)
def test_an_option_that_means_nothing_is_named(
    tiny: Tiny, papagaio: Papagaio, changes: dict[str, object], words: list[str]
) -> None:
    ended = papagaio(*tiny.audit(**changes))
    refused_with_nothing_left(ended, tiny, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bugdet = 3", "bugdet 3: no such option"),
        ("budget = ", "not a readable TOML file"),
        ("budget = 'many'", "budget many: should be a valid integer"),
        (None, "not a readable TOML file"),
    ],
)
def test_a_configuration_file_that_is_wrong_is_named(
    tiny: Tiny, papagaio: Papagaio, text: str | None, words: str
) -> None:
    config = tiny.folder / "audit.toml"
    if text is not None:
        config.write_text(text)
    ended = papagaio(*tiny.audit(config=config, budget=None if text else 12))
    refused_with_nothing_left(ended, tiny, str(config), words)


# Places: the run directory, the ledger, the disk.


def test_a_second_process_on_a_run_is_refused(tiny: Tiny, papagaio_process: Papagaio) -> None:
    with files.lock(tiny.out / ".lock"):
        ended = papagaio_process(*tiny.audit())
    refused(ended, f"{tiny.out}: another process works here", "choose another folder")
    assert tiny.asked() == []
    assert [path.name for path in tiny.out.iterdir()] == [".lock"]


def test_a_second_process_on_a_ledger_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    shared = tiny.folder / "shared.sqlite"
    with Ledger(shared):
        ended = papagaio(*tiny.audit(ledger=shared))
    refused(
        ended, f"{tiny.folder}: another process", "shared.sqlite.lock", "another folder or ledger"
    )
    assert tiny.asked() == []


def test_a_file_in_the_place_of_the_run_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    tiny.out.write_text("something of value")
    ended = papagaio(*tiny.audit())
    refused(ended, str(tiny.out))
    assert tiny.out.read_text() == "something of value"


def test_a_ledger_that_is_none_is_refused(tiny: Tiny, papagaio: Papagaio) -> None:
    other = tiny.folder / "notes.txt"
    other.write_text("no ledger, but something of value\n" * 50)
    before = other.read_bytes()
    ended = papagaio(*tiny.audit(ledger=other))
    refused(ended, f"{other}: not a ledger", "name another file")
    assert tiny.asked() == []
    assert other.read_bytes() == before


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_a_missing_ledger_is_named_and_not_made(
    papagaio: Papagaio, tmp_path: Path, verb: str
) -> None:
    refused(papagaio("ledger", verb, tmp_path / "nowhere.sqlite"), "nowhere.sqlite: no such file")
    assert list(tmp_path.iterdir()) == []


def test_verify_names_an_answer_that_was_changed(tiny: Tiny, papagaio: Papagaio) -> None:
    assert papagaio(*tiny.audit()).code == 0
    assert papagaio("ledger", "verify", tiny.ledger).code == 0
    db = sqlite3.connect(tiny.ledger)
    with db:
        digests, scores = db.execute("SELECT digests, scores FROM answers LIMIT 1").fetchone()
        image = digests[:32]
        changed = np.array([0, 0, 1], "<f4").tobytes() + scores[12:]
        db.execute("UPDATE answers SET scores = ? WHERE scores = ?", (changed, scores))
    db.close()
    ended = papagaio("ledger", "verify", tiny.ledger)
    refused(ended, f"{tiny.ledger}: 1 problems", "restore an earlier copy")
    assert f"answer to image {image.hex()[:16]}: its seal does not match" in ended.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no result; name the folder of a run"),
        ("{", "not a result of this version"),
        ('{"schema": 1}', "not a result of this version"),
        ('{"schema": 99}', "its schema is 99"),
    ],
)
def test_a_report_without_a_result_is_refused(
    papagaio: Papagaio, tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    refused(papagaio("report", tmp_path), str(tmp_path / "result.json"), words)
    assert not (tmp_path / "report.html").exists()


def mount(place: Path, options: str) -> None:
    command = shutil.which("mount")
    if command is None:
        pytest.skip("a small disk needs the command mount")
    words = [command, "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A real file system of so many KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount(disk, f"size={request.param}k")
    yield disk
    # Lazily: a mapped file may still be held by an error's traceback.
    subprocess.run([shutil.which("umount") or "", "-l", str(disk)], check=True)


@pytest.mark.parametrize("small_disk", [64], indirect=True)
def test_images_that_do_not_fit_into_the_cache_are_refused_before_they_are_written(
    tiny: Tiny, papagaio: Papagaio, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAPAGAIO_CACHE", str(small_disk))
    photos = tiny.folder / "photos"
    write_png(photos, 40, side=64)
    ended = papagaio(*tiny.audit(transfer=photos, budget=40, resize="stretch", input="64x64x1"))
    refused(ended, "MB are free", "choose another folder")
    assert tiny.asked() == []


@pytest.mark.parametrize("small_disk", [400], indirect=True)
def test_a_ledger_that_fills_the_disk_keeps_what_was_paid(
    tiny: Tiny, papagaio: Papagaio, small_disk: Path
) -> None:
    np.savez(tiny.folder / "transfer.npz", images=grey(2000, 1))
    ledger = small_disk / "ledger.sqlite"
    command = tiny.audit(ledger=ledger, budget=2000, batch=50)
    ended = papagaio(*command)
    refused(ended, f"{ledger}: no space left on the disk", "answers paid so far are kept")
    # The disk is full still.
    whole = papagaio("ledger", "verify", ledger)
    assert whole.code == 0, whole.stderr
    kept = int(re.findall(r"(\d+) answers, all intact", whole.stdout)[0])
    asked = sum(tiny.asked())
    canaries = math.ceil(asked / 100)
    # What could not be written at the end was one request, or none.
    assert 0 < asked - 50 - canaries <= kept <= asked < 2000

    mount(small_disk, "remount,size=8m")
    again = papagaio(*command)
    assert again.code == 0, again.stderr
    queries = read_result(tiny.out / "result.json").queries
    assert queries.total == 2009 + queries.canaries
    assert sum(tiny.asked()) == queries.total + queries.interrupted
