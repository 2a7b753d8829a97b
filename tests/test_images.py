import hashlib
import io
import json
import os
from pathlib import Path
from typing import Literal

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

from papagaio.errors import BadImages
from papagaio.images.choosing import load
from papagaio.images.cifar import cifar
from papagaio.images.decode import decode
from papagaio.images.digits import digits
from papagaio.images.duplicates import difference_hashes, near_duplicates
from papagaio.images.fit import Colour, Fit, Resize, fit_image
from papagaio.images.folder import folder
from papagaio.images.imageset import ImageSet, digest_images, digest_of_set
from papagaio.images.letters import letters
from papagaio.images.named import open_source
from papagaio.images.source import Part, Source

Pixels = NDArray[np.uint8]

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


def test_a_data_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadImages, match=r"data-dir: no train-\*\.parquet in"):
        cifar("cifar10", "train", tmp_path)


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


def test_flat_images_of_different_levels_are_no_duplicates() -> None:
    dark, light = np.full((1, 8, 8, 1), 20, np.uint8), np.full((1, 8, 8, 1), 220, np.uint8)
    assert len(near_duplicates(ImageSet.of("a", dark), ImageSet.of("b", light))) == 0
    assert len(near_duplicates(ImageSet.of("a", dark), ImageSet.of("b", dark + 2))) == 1
