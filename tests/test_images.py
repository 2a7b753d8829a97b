import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import grey
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as any_array
from numpy.typing import NDArray
from PIL import Image

from papagaio.errors import BadImages, BadSettings
from papagaio.images.choosing import load
from papagaio.images.cifar import cifar
from papagaio.images.decode import decode
from papagaio.images.digits import digits
from papagaio.images.duplicates import difference_hashes, near_duplicates
from papagaio.images.fit import Fit, fit_image
from papagaio.images.folder import Layout, folder
from papagaio.images.imageset import ImageSet, digest_images, digest_of_set
from papagaio.images.letters import draw_letters, letters
from papagaio.images.named import open_source
from papagaio.images.source import Source
from papagaio.progress import Message, Step
from papagaio.vocabulary import Colour, Part, Resize

Pixels = NDArray[np.uint8]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

DATA = Path(
    os.environ.get("PAPAGAIO_DATA_DIR") or Path(__file__).resolve().parents[2] / "shared" / "data"
)


def encoded(pixels: Pixels, kind: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
        file, kind, **options
    )
    return file.getvalue()


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels))


def all_pixels(source: Source) -> Pixels:
    return np.stack([source.read(row).pixels for row in range(source.size)])


def colour(count: int, seed: int, side: int = 8) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


# Sources.


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    images = grey(4, 0)
    save(tmp_path / "photos" / "zebra" / "1.png", images[3])
    save(tmp_path / "photos" / "ant" / "b.png", images[1])
    save(tmp_path / "photos" / "ant" / "a.PNG", images[0])
    save(tmp_path / "photos" / "bee" / "x.bmp", images[2])
    (tmp_path / "photos" / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / "ant" / ".hidden.png").write_text("no image")
    source = open_source(str(tmp_path / "photos"))
    assert source.classes == ("ant", "bee", "zebra")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 1, 2]
    assert (source.name, source.size) == ("photos", 4)
    assert (all_pixels(source) == images).all()


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    images = colour(3, 0)
    for row, image in enumerate(images):
        save(tmp_path / f"{row}.png", image)
    source = open_source(str(tmp_path))
    assert source.labels is None
    assert source.classes is None
    assert (all_pixels(source) == images).all()


def test_images_beside_and_inside_sub_folders_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", grey(1, 0)[0])
    save(tmp_path / "sub" / "b.png", grey(1, 1)[0])
    with pytest.raises(BadImages, match=r"both in it and in its sub-folders \(sub"):
        folder(tmp_path)


@pytest.mark.parametrize("column", ["struct", "binary", "large_binary"])
def test_parquet_gives_images_labels_and_the_names_of_classes(tmp_path: Path, column: str) -> None:
    images = colour(5, 0)
    data = [encoded(image) for image in images]
    labels = [2, 0, 1, 1, 2]
    features = {"label": {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}}
    table = pa.table(
        {
            "image": {
                "struct": lambda: pa.array([{"bytes": one, "path": None} for one in data]),
                "binary": lambda: pa.array(data, pa.binary()),
                "large_binary": lambda: pa.array(data, pa.large_binary()),
            }[column](),
            "label": pa.array(labels, pa.int64()),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table.slice(0, 3), tmp_path / "part-0.parquet")
    pq.write_table(table.slice(3), tmp_path / "part-1.parquet")
    source = open_source(str(tmp_path))
    assert source.classes == ("ant", "bee", "cat")
    assert source.labels is not None
    assert source.labels.tolist() == labels
    assert (all_pixels(source) == images).all()
    assert open_source(str(tmp_path / "part-1.parquet")).size == 2


@pytest.mark.parametrize("metadata", ["{broken", "[]", '{"info": null}', '{"info": {}}'])
def test_parquet_without_readable_class_names_has_none(tmp_path: Path, metadata: str) -> None:
    table = pa.table({"image": [encoded(grey(1, 0)[0])], "label": [0]})
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), tmp_path / "a.parquet")
    assert open_source(str(tmp_path / "a.parquet")).classes is None


@pytest.mark.parametrize(
    "images", [grey(4, 0).squeeze(3), grey(4, 0), colour(4, 0)], ids=["NHW", "NHW1", "NHW3"]
)
def test_npz_gives_images_labels_and_the_names_of_classes(tmp_path: Path, images: Pixels) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, images=images, labels=np.array([1, 0, 1, 0], np.uint8), classes=["no", "yes"])
    source = open_source(str(path))
    assert source.classes == ("no", "yes")
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, 1, 0]
    assert source.labels.dtype == np.int64
    assert (all_pixels(source) == images.reshape(4, 8, 8, -1)).all()


def test_the_digits_fall_into_two_parts_that_share_no_image() -> None:
    train, test = digits("train"), digits("test")
    assert (train.size, test.size) == (1207, 590)
    apart = {d.tobytes() for d in digest_images(all_pixels(train))}
    assert not apart & {d.tobytes() for d in digest_images(all_pixels(test))}
    assert train.labels is not None
    assert test.labels is not None
    assert set(train.labels) == set(test.labels) == set(range(10))


def test_letters_are_the_same_every_time_and_balanced() -> None:
    one, other = letters(), letters()
    assert one.size == 4000
    assert one.labels is not None
    assert set(np.bincount(one.labels)) == {76, 77}
    assert len(np.bincount(one.labels)) == 52
    pixels = all_pixels(one)
    assert pixels.shape == (4000, 8, 8, 1)
    assert (pixels == all_pixels(other)).all()


@pytest.mark.parametrize(
    ("name", "part", "size"),
    [("digits", "train", 1207), ("digits:test", "train", 590), ("digits", "test", 590)],
)
def test_a_colon_chooses_the_part(name: str, part: Part, size: int) -> None:
    assert open_source(name, part=part).size == size


def test_a_part_that_is_none_is_refused() -> None:
    with pytest.raises(BadImages, match="digits:train and digits:test"):
        open_source("digits:middle")


@pytest.mark.parametrize(
    ("name", "classes", "digest"),
    [
        ("cifar10", 10, "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56"),
        ("cifar100", 100, "83c56492b2c11211ad1bb2dbd4f2eef4170a0441e41a41f3039c3144b1f5a511"),
    ],
)
def test_the_cifar_test_sets_have_the_pixels_that_they_are_known_by(
    name: Literal["cifar10", "cifar100"], classes: int, digest: str
) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"needs {name}/test-*.parquet; say where with PAPAGAIO_DATA_DIR")
    images = load(cifar(name, "test", DATA))
    assert images.pixels.shape == (10_000, 32, 32, 3)
    assert (np.bincount(images.required_labels) == 10_000 // classes).all()
    assert images.classes is not None
    assert len(images.classes) == classes
    planes = np.ascontiguousarray(images.pixels.transpose(0, 3, 1, 2))
    assert hashlib.sha256(planes.data).hexdigest() == digest


def test_downloaded_images_are_fitted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Downloaded:
        tgz_md5 = tmp_path.name

        def __init__(self, _: Path, *, train: bool, download: bool) -> None:
            assert download
            numbers = np.arange(3, dtype=np.uint8) + train
            self.data = np.ones((3, 32, 32, 3), np.uint8) * numbers[:, None, None, None]
            self.targets, self.classes = [0, 1, 1], ["a", "b"]

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Downloaded)
    told: list[Step | Message] = []
    for part in ("train", "test", "train"):
        images = load(cifar("cifar10", part, None), progress=told.append)
        expected = [1, 2, 3] if part == "train" else [0, 1, 2]
        assert images.pixels[:, 0, 0, 0].tolist() == expected
    assert [step.done for step in told if isinstance(step, Step)] == [1, 2, 3] * 2


def test_a_data_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadImages, match=r"data-dir: no train-\*\.parquet in"):
        cifar("cifar10", "train", tmp_path)


# Folders as people have them.


def test_transfer_folders_are_read_at_any_depth_and_without_labels(tmp_path: Path) -> None:
    images = grey(4, 0)
    for name, image in zip(("a.png", "b/c/d.png", "b/e.png", "f/g.png"), images, strict=True):
        save(tmp_path / name, image)
    source = open_source(str(tmp_path), layout="any")
    assert source.labels is None
    assert (all_pixels(source) == images).all()


def test_a_link_in_a_circle_is_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "sub" / "a.png", grey(1, 0)[0])
    (tmp_path / "sub" / "again").symlink_to(tmp_path / "sub", target_is_directory=True)
    assert open_source(str(tmp_path), layout="any").size == 1


def in_folders(folder: Path, *names: str) -> None:
    for name, image in zip(names, grey(len(names), 0), strict=True):
        save(folder / name / "a.png", image)


@pytest.mark.parametrize("names", [map(str, range(12)), [f"{n:05}" for n in range(12)]])
def test_class_folders_named_by_integers_are_the_class_numbers(
    tmp_path: Path, names: Iterable[str]
) -> None:
    in_folders(tmp_path, *names)
    source = open_source(str(tmp_path))
    assert source.labels is not None
    assert source.labels.tolist() == list(range(12))
    assert (all_pixels(source) == grey(12, 0)).all()
    assert source.classes == tuple(map(str, range(12)))
    assert source.notes.class_order == "number"


def test_a_class_number_without_a_folder_moves_no_other(tmp_path: Path) -> None:
    in_folders(tmp_path, "0", "3", "10")
    source = open_source(str(tmp_path))
    assert source.labels is not None
    assert source.labels.tolist() == [0, 3, 10]
    assert source.classes == tuple(map(str, range(11)))


@pytest.mark.parametrize("names", [("1", "01"), ("0", "20260131")])
def test_class_numbers_that_cannot_be_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    in_folders(tmp_path, *names)
    with pytest.raises(BadImages, match="not class numbers"):
        open_source(str(tmp_path))


def test_one_name_among_numbers_makes_all_of_them_names(tmp_path: Path) -> None:
    in_folders(tmp_path, "10", "9", "stop")
    source = open_source(str(tmp_path))
    assert source.classes == ("10", "9", "stop")
    assert source.notes.class_order == "name"


def test_a_file_puts_the_classes_in_order(tmp_path: Path) -> None:
    in_folders(tmp_path / "photos", "ant", "bee", "cat")
    (tmp_path / "names.txt").write_text("cat\n\ndog\nant \nbee\n")
    source = open_source(str(tmp_path / "photos"), classes_from=tmp_path / "names.txt")
    assert source.classes == ("cat", "dog", "ant", "bee")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 2, 3]
    assert (all_pixels(source) == grey(3, 0)[[2, 0, 1]]).all()
    assert source.notes.class_order == "file"


@pytest.mark.parametrize(
    ("spec", "text", "words"),
    [
        ("photos", "ant", "does not name the class folders bee, cat of"),
        ("photos", "ant\nant\nbee\ncat", "each once"),
        ("photos", "", "one per line"),
        ("photos", None, "not a readable text file"),
        ("flat", "ant", "flat has no class folders"),
        ("digits", "ant", "digits has no class folders"),
    ],
)
def test_a_list_of_classes_that_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, text: str | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    in_folders(Path("photos"), "ant", "bee", "cat")
    save(Path("flat") / "a.png", grey(1, 0)[0])
    if text is not None:
        Path("names.txt").write_text(text)
    with pytest.raises(BadSettings, match=words) as refused:
        open_source(spec, classes_from=Path("names.txt"))
    assert refused.value.field == "classes_from"


def test_files_that_are_no_images_are_counted_by_suffix(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    save(photos / "ant" / "1.png", grey(1, 0)[0])
    save(photos / "__MACOSX" / "ant" / "1.png", grey(1, 0)[0])
    for name in ("._1.png", "2.HEIC", "3.heic", "a.svg", "README", ".DS_Store"):
        (photos / "ant" / name).write_text("no image")
    for layout in LAYOUTS:
        source = open_source(str(photos), layout=layout)
        assert source.size == 1
        assert source.notes.skipped == {"._": 1, ".heic": 2, ".svg": 1, "no suffix": 1}
    assert open_source(str(photos)).classes == ("ant",)


def test_a_folder_of_heic_files_says_how_to_convert_them(tmp_path: Path) -> None:
    for name in ("1.heic", "2.HEIC", "notes.txt"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(BadImages, match=r"no images found; its 2 \.heic .* mogrify -format jpg"):
        open_source(str(tmp_path), layout="any")


def test_a_folder_without_images_names_the_accepted_suffixes(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(BadImages, match=r"no images found; .*\.jpg.*\.ppm.*\(it has 1 \.txt\)"):
        open_source(str(tmp_path))


def test_every_problem_of_class_folders_is_named_at_once(tmp_path: Path) -> None:
    save(tmp_path / "loose.png", grey(1, 0)[0])
    in_folders(tmp_path, "ant")
    (tmp_path / "bee").mkdir()
    (tmp_path / "cat").mkdir()
    with pytest.raises(
        BadImages, match=r"both in it and in its sub-folders.*no images in bee, cat"
    ):
        open_source(str(tmp_path))


@pytest.mark.parametrize("suffix", ["ppm", "pgm", "pbm", "pnm", "jfif", "bmp", "webp"])
def test_a_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    image = np.where(grey(1, 0)[0] > 128, 255, 0).astype(np.uint8)
    mode = {"pbm": "1", "ppm": "RGB"}.get(suffix, "L")
    kind = {"jfif": "JPEG", "bmp": "BMP", "webp": "WEBP"}.get(suffix, "PPM")
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(image.squeeze(2)).convert(mode).save(tmp_path / f"a.{suffix}", kind, **options)
    pixels = all_pixels(open_source(str(tmp_path)))[0]
    assert np.abs(pixels.mean(2) - image[..., 0]).mean() < (20 if kind == "JPEG" else 1e-9)


def test_a_ppm_of_16_bits_is_refused() -> None:
    with pytest.raises(BadImages, match="more than 8 bits per channel"):
        decode(b"P6 1 1 65535\n" + bytes(6), "deep.ppm")
    with pytest.raises(BadImages, match="more than 8 bits per channel"):
        decode(b"P5 1 1 65535\n" + bytes(2), "deep.pgm")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_is_no_rotation() -> None:
    data = encoded(colour(1, 0)[0], "JPEG")
    block = b"Exif\0\0II*\0" + b"\xff" * 30
    marker = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    assert decode(data[:2] + marker + data[2:], "here").orientation == 1


# NumPy archives as datasets ship them.


@pytest.mark.parametrize(
    ("names", "part", "rows"),
    [
        (("x_{}", "y_{}"), "train", slice(0, 4)),
        (("x_{}", "y_{}"), "test", slice(4, 6)),
        (("{}_images", "{}_labels"), "test", slice(4, 6)),
    ],
)
def test_npz_files_may_have_parts(
    tmp_path: Path, names: tuple[str, str], part: Part, rows: slice
) -> None:
    images, labels = colour(6, 0), np.arange(6).reshape(-1, 1)
    content: dict[str, NDArray[np.generic]] = {}
    for one, some in (("train", slice(0, 4)), ("test", slice(4, 6))):
        content |= {names[0].format(one): images[some], names[1].format(one): labels[some]}
    np.savez(tmp_path / "set.npz", allow_pickle=False, **content)
    for source in (
        open_source(str(tmp_path / "set.npz"), part=part),
        open_source(f"{tmp_path / 'set.npz'}:{part}", part="train"),
    ):
        assert (all_pixels(source) == images[rows]).all()
        assert source.labels is not None
        assert source.labels.tolist() == labels[rows].ravel().tolist()


@pytest.mark.parametrize(
    "labels",
    [np.array([[2], [0], [1]]), np.array([2.0, 0.0, 1.0]), np.array([[2.0], [0.0], [1.0]], "f4")],
)
def test_npz_labels_may_be_a_column_and_whole_floats(
    tmp_path: Path, labels: NDArray[np.generic]
) -> None:
    np.savez(tmp_path / "a.npz", x=grey(3, 0), y=labels)
    source = open_source(str(tmp_path / "a.npz"))
    assert source.labels is not None
    assert source.labels.tolist() == [2, 0, 1]
    assert source.labels.dtype == np.int64


def test_npz_images_may_have_their_channels_first(tmp_path: Path) -> None:
    images = colour(3, 0)
    np.savez(tmp_path / "a.npz", images=images.transpose(0, 3, 1, 2))
    assert (all_pixels(open_source(str(tmp_path / "a.npz"))) == images).all()


@pytest.mark.parametrize(
    ("images", "remedy"),
    [
        (np.zeros((2, 8, 8), np.float32), "float32 and must be uint8.*rint(x * 255).astype"),
        (np.full((2, 8, 8), 200.0), "float64 and must be uint8.*rint(x).astype(np.uint8)"),
        (np.full((2, 8, 8), -0.5), "rint((x + 1) * 127.5).astype(np.uint8)"),
        (np.zeros((2, 8, 8), np.int64), "int64 and must be uint8.*x.astype(np.uint8)"),
    ],
)
def test_npz_images_of_another_type_are_refused_with_the_line_that_converts_them(
    tmp_path: Path, images: NDArray[np.generic], remedy: str
) -> None:
    np.savez(tmp_path / "a.npz", x=images)
    with pytest.raises(BadImages) as refused:
        open_source(str(tmp_path / "a.npz"))
    for words in remedy.split(".*"):
        assert words in str(refused.value)


def test_every_problem_of_an_npz_file_is_named_at_once(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", images=np.zeros((3, 8, 8, 5)), labels=np.eye(3), classes=np.array(3)
    )
    with pytest.raises(BadImages) as refused:
        open_source(str(tmp_path / "a.npz"))
    for words in ("float64", "5 channels", "take labels.argmax(1)", "`classes` must be"):
        assert words in str(refused.value)


# Fitting.


@pytest.mark.parametrize("height", [1, 3, 8])
@pytest.mark.parametrize("width", [1, 5, 8])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(8, 8, 3), (4, 6, 1), (1, 1, 3)])
def test_a_fitted_image_has_the_shape_that_is_wanted(
    height: int, width: int, channels: int, resize: Resize, shape: tuple[int, int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    fitted = fit_image(pixels, shape, Fit(resize, "convert"), "here")
    assert fitted.shape == shape
    assert fitted.dtype == np.uint8


@given(any_array(np.uint8, (4, 5, 3)), st.sampled_from(["exact", "stretch", "crop", "pad"]))
def test_an_image_that_fits_is_left_as_it_is(pixels: Pixels, resize: Resize) -> None:
    assert (fit_image(pixels, (4, 5, 3), Fit(resize, "convert"), "here") == pixels).all()


# Wide: a black half, then a white half.
WIDE = np.repeat(np.array([[[0]] * 8 + [[255]] * 8], np.uint8), 8, 0)


def test_stretch_shows_the_whole_image_squeezed() -> None:
    fitted = fit_image(WIDE, (8, 8, 1), Fit("stretch"), "here")[..., 0]
    assert (fitted[:, :3] == 0).all()
    assert (fitted[:, 5:] == 255).all()


def test_crop_cuts_what_sticks_out() -> None:
    marked = WIDE.copy()
    marked[:, (0, 1, -2, -1)] = 128
    fitted = fit_image(marked, (8, 8, 1), Fit("crop"), "here")[..., 0]
    assert (fitted[:, :4] == 0).all()
    assert (fitted[:, 4:] == 255).all()


def test_pad_shows_the_whole_image_on_black() -> None:
    white = np.full((4, 8, 1), 255, np.uint8)
    fitted = fit_image(white, (8, 8, 1), Fit("pad"), "here")[..., 0]
    assert (fitted[2:6] == 255).all()
    assert (fitted[:2] == 0).all()
    assert (fitted[6:] == 0).all()


def test_convert_makes_grey_by_luma_and_colour_by_repeating_grey() -> None:
    red = np.array([[[255, 0, 0]]], np.uint8)
    assert fit_image(red, (1, 1, 1), Fit(colour="convert"), "here").tolist() == [[[76]]]
    level = np.array([[[9]]], np.uint8)
    assert fit_image(level, (1, 1, 3), Fit(colour="convert"), "here").tolist() == [[[9, 9, 9]]]


@pytest.mark.parametrize(
    ("shape", "resize", "rule", "remedy"),
    [
        ((8, 8, 3), "exact", "convert", "3 x 8 pixels where 8 x 8 .*stretch, crop, pad"),
        ((3, 8, 1), "stretch", "exact", "3 channels where 1 are .*choose convert"),
    ],
)
def test_exact_refuses_and_names_the_option(
    shape: tuple[int, int, int], resize: Resize, rule: Colour, remedy: str
) -> None:
    pixels = np.zeros((3, 8, 3), np.uint8)
    with pytest.raises(BadImages, match=f"photo 7: {remedy}"):
        fit_image(pixels, shape, Fit(resize, rule), "photo 7")


# Digests.


def test_the_shape_is_part_of_a_digest() -> None:
    wide, tall = np.zeros((1, 2, 8, 1), np.uint8), np.zeros((1, 8, 2, 1), np.uint8)
    assert (digest_images(wide) != digest_images(tall)).any()


def test_a_digest_is_of_the_pixels_and_not_of_how_they_lie_in_memory() -> None:
    images = colour(3, 0)
    turned = np.ascontiguousarray(images.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    assert turned.strides != images.strides
    assert (digest_images(turned) == digest_images(images)).all()


def test_one_pixel_changes_a_digest_and_no_other() -> None:
    images = grey(3, 0)
    changed = images.copy()
    changed[1, 0, 0] += 1
    same = (digest_images(images) == digest_images(changed)).all(1)
    assert same.tolist() == [True, False, True]


def test_the_order_is_part_of_a_sets_digest() -> None:
    images = grey(3, 0)
    digests = digest_images(images)
    assert ImageSet.of("a", images).digest == digest_of_set(digests)
    assert ImageSet.of("a", images[::-1]).digest != digest_of_set(digests)


@given(
    any_array(
        np.uint8,
        st.tuples(st.integers(1, 12), st.just(1), st.just(1), st.just(1)),
        elements=st.integers(0, 3),
    )
)
def test_distinct_images_are_the_first_of_their_kind(pixels: Pixels) -> None:
    seen: dict[bytes, int] = {}
    for row, image in enumerate(pixels):
        seen.setdefault(image.tobytes(), row)
    assert ImageSet.of("any", pixels).distinct().tolist() == list(seen.values())


# Labels.


def test_a_set_without_labels_says_how_to_give_some() -> None:
    with pytest.raises(BadImages, match=r"mine: no labels.*sub-folder per class"):
        _ = ImageSet.of("mine", grey(1, 0)).required_labels


def test_a_class_without_images_is_refused_since_it_would_move_the_others(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "ant" / "1.png", grey(1, 0)[0])
    (tmp_path / "photos" / "bee").mkdir()
    with pytest.raises(BadImages, match="no images in bee"):
        open_source(str(tmp_path / "photos"))


# Near-duplicates.


def smooth(count: int, seed: int) -> Pixels:
    """Images of 32 x 32 with large shapes, as photographs have and noise has not."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 5, 3), np.uint8)
    fit = Fit("stretch")
    return np.stack([fit_image(image, (32, 32, 3), fit, "") for image in coarse])


def test_copies_and_compressed_copies_are_found_and_strangers_are_not() -> None:
    ours, theirs = smooth(6, 0), smooth(40, 1)
    theirs[7] = ours[2]
    theirs[30] = decode(encoded(ours[1], "JPEG", quality=50), "copy").pixels
    # Some of the hash's bits have turned, too.
    assert difference_hashes(theirs[30:31]) != difference_hashes(ours[1:2])
    found = near_duplicates(ImageSet.of("ours", ours), ImageSet.of("theirs", theirs))
    assert found.tolist() == [1, 2]


def drawn(count: int, seed: int, side: int) -> Pixels:
    letters, _ = draw_letters(count, seed)
    if side == 8:
        return letters
    fit = Fit("stretch")
    return np.stack([fit_image(image, (side, side, 1), fit, "") for image in letters])


def slanted_lines(count: int, seed: int) -> Pixels:
    """Strokes like the digit 1 of MNIST: 28 x 28 pixels, most of them background."""
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(28), np.arange(28))
    slant, bow = random.normal(0.2, 0.3, (2, count, 1, 1))
    width = random.uniform(1, 2.5, (count, 1, 1))
    height = (y - 13.5) / 10
    off = np.abs(x - 14 - 6 * slant * height - 6 * bow * height**2)
    ink = np.clip(width + 0.5 - off, 0, 1) * (np.abs(height) <= 1)
    return np.asarray(np.rint(255 * ink), np.uint8)[..., None]


@pytest.mark.parametrize("side", [8, 28])
def test_other_drawings_are_no_near_duplicates(side: int) -> None:
    one, other = drawn(600, 1, side), drawn(1000, 2, side)
    assert len(near_duplicates(ImageSet.of("one", one), ImageSet.of("other", other))) == 0


def test_other_digits_are_no_near_duplicates() -> None:
    train, test = (ImageSet.of("digits", all_pixels(digits(part))) for part in ("train", "test"))
    assert len(near_duplicates(test, train)) == 0


def test_few_thin_strokes_are_taken_for_near_duplicates() -> None:
    one, other = slanted_lines(200, 0), slanted_lines(400, 1)
    other[:20] = one[:20]
    rows = near_duplicates(ImageSet.of("one", one), ImageSet.of("other", other))
    assert set(range(20)) <= set(rows)
    assert len(rows) < 40


def test_compressed_photos_are_found_again() -> None:
    if not (DATA / "cifar10").is_dir():
        pytest.skip("needs cifar10/test-*.parquet; say where with PAPAGAIO_DATA_DIR")
    photos = load(cifar("cifar10", "test", DATA)).pixels[:1000]
    for quality, recall in ((75, 0.99), (50, 0.95)):
        compressed = np.stack(
            [decode(encoded(photo, "JPEG", quality=quality), "").pixels for photo in photos]
        )
        rows = near_duplicates(ImageSet.of("a", compressed), ImageSet.of("b", photos))
        assert len(rows) >= recall * len(photos)


def test_comparing_sets_tells_how_far_it_is() -> None:
    steps: list[Step | Message] = []
    one, other = ImageSet.of("one", grey(300, 0)), ImageSet.of("other", grey(20, 1))
    near_duplicates(one, other, steps.append)
    assert steps == [
        Step("hashing one", 256, 300, "images"),
        Step("hashing one", 300, 300, "images"),
        Step("hashing other", 20, 20, "images"),
        Step("comparing one with other", 256, 300, "images"),
        Step("comparing one with other", 300, 300, "images"),
    ]


def test_flat_images_of_different_levels_are_no_duplicates() -> None:
    dark, light = np.full((1, 8, 8, 1), 20, np.uint8), np.full((1, 8, 8, 1), 220, np.uint8)
    assert len(near_duplicates(ImageSet.of("a", dark), ImageSet.of("b", light))) == 0
    assert len(near_duplicates(ImageSet.of("a", dark), ImageSet.of("b", dark + 2))) == 1
