"""Picture files: what is read, what is refused, and at what cost."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from conftest import spent
from hypersphere import pictures
from picture_files import VARIANTS, bomb, costly, enlarged, exif, mutated, png, saved, with_many_scans, with_metadata

NOISE = Image.effect_noise((99, 99), 90)


@pytest.fixture
def digit(digits):
    return digits[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_file_is_read(variant, digit):
    read = pictures.read_image(VARIANTS[variant](digit))
    assert read.shape == (280, 280) and read.dtype == np.float32
    read = 1 - read if "dark ink" in variant else read
    np.testing.assert_allclose(read, np.asarray(enlarged(digit)) / 255, atol=0.12)


def test_what_is_large_is_shrunk(digit):
    large = enlarged(digit).resize((1400, 1050), Image.Resampling.NEAREST)
    expected = np.asarray(large.resize((560, 420), Image.Resampling.BOX)) / 255
    for kind in ["PNG", "JPEG", "WEBP"]:
        read = pictures.read_image(saved(large.convert("RGB"), kind))
        assert read.shape == (420, 560) and np.abs(read - expected).mean() < 0.02


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_exif_says(kind, order, orientation):
    picture = Image.fromarray(np.uint8(np.add.outer(np.arange(0, 240, 8), np.arange(20))))
    content = saved(picture, kind, exif=b"Exif\0\0" + exif(orientation, n_tags=3, n_bytes=4, order=order))
    with Image.open(io.BytesIO(content)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("L")) / 255
    np.testing.assert_allclose(pictures.read_image(content), expected, atol=1 / 255)


@pytest.mark.parametrize("scale", [257, 16, 4, 1], ids=["16 bits", "12 bits", "10 bits", "8 bits"])
@pytest.mark.parametrize("transparency", [{}, {"transparency": 0}], ids=["opaque", "transparent"])
def test_16_bits_are_as_8(scale, transparency, digit):
    eight = np.asarray(enlarged(digit)).astype(np.uint16)
    read = pictures.read_image(saved(Image.fromarray(eight * scale), **transparency))
    np.testing.assert_allclose(read, eight / 255, atol=0.02)


@pytest.mark.parametrize("scale", [257, 16], ids=["16 bits", "12 bits"])
def test_colours_of_16_bits_are_as_8(scale, digit):
    eight = np.asarray(enlarged(digit))
    samples = (eight.astype(np.uint16) * scale).repeat(3, axis=1).astype(">u2")
    read = pictures.read_image(png(eight.shape, 16, 2, b"".join(b"\0" + row.tobytes() for row in samples)))
    np.testing.assert_allclose(read, eight / 255, atol=0.07)


@pytest.mark.parametrize(("mode", "transparency"), [("1", 1), ("L", 255), ("RGB", (255, 255, 255))])
def test_a_transparent_colour_is_not_seen(mode, transparency, digit):
    inside = Image.new(mode, (300, 280))
    inside.paste(enlarged(digit).point(lambda value: 255 * (value < 128)).convert(mode))
    read = pictures.read_image(saved(inside, transparency=transparency))  # the strip on the right is opaque
    np.testing.assert_array_equal(read, np.asarray(inside.convert("L")) / 255)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind, digit):
    first = Image.new("RGBA", (400, 320))
    first.paste(enlarged(digit).convert("RGBA"), (100, 30))  # WebP stores this part alone
    frames = [Image.new("RGBA", first.size, color) for color in ["red", "blue"]]
    read = pictures.read_image(saved(first, kind, save_all=True, append_images=frames, lossless=True))
    np.testing.assert_allclose(read[30:310, 100:380], np.asarray(enlarged(digit)) / 255, atol=1 / 255)
    assert read.shape == (320, 400)


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("JPEG", {"quality": 90}), ("WEBP", {})])
@pytest.mark.parametrize("colours", [((255, 0, 0), (0, 130, 0)), ((255, 255, 0), (255, 255, 255))])
def test_colours_of_one_brightness_are_told_apart(kind, options, colours, digit):
    ink = np.asarray(enlarged(digit))[..., np.newaxis] / 255
    picture = np.uint8(ink * colours[0] + (1 - ink) * colours[1])
    read = pictures.read_image(saved(Image.fromarray(picture), kind, **options))
    assert abs(np.corrcoef(read.ravel(), ink.ravel())[0, 1]) > 0.95 and np.ptp(read) > 0.9


def test_a_broken_jpeg_marker_and_what_follows_the_end_are_passed_over(digit):
    content = saved(enlarged(digit), "JPEG", progressive=True)
    filled = content.replace(b"\xff\xda", b"\xff\xff\xff\xff\xda", 1) + b"more"
    np.testing.assert_array_equal(pictures.read_image(filled), pictures.read_image(content))


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"seven", pictures.UnknownFormat, "not a picture"),
        (b"RIFF\0\0\0\0WAVE", pictures.UnknownFormat, "not a picture"),
        (saved(Image.new("L", (9, 9)), "TIFF"), pictures.UnknownFormat, "PNG"),
        (bomb(50_000, 50_000), pictures.PictureError, "pixels"),
        (bomb(2001, 1000), pictures.PictureError, "2001 x 1000 pixels; at most 2 million"),
        (bomb(1, 20_000), pictures.PictureError, "16384 a side"),
        (bomb(20, 20), pictures.PictureError, "damaged"),
        (bomb(20, 20)[:20], pictures.PictureError, "damaged"),
        *((saved(NOISE, kind)[:2000], pictures.PictureError, "damaged") for kind in ["PNG", "JPEG", "WEBP"]),
        (with_many_scans(saved(NOISE, "JPEG", progressive=True)), pictures.PictureError, "more than 20 scans"),
    ],
)
def test_bad_files_are_named(content, kind, words):
    with pytest.raises(kind, match=words):
        pictures.read_image(content)


def test_more_pixels_are_read_where_they_are_trusted():
    content = saved(Image.new("L", (3000, 1000), 255))
    np.testing.assert_array_equal(pictures.read_image(content, max_pixels=3 * 10**6), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="measures in /proc")
@pytest.mark.parametrize("make", [with_metadata, costly, lambda: mutated(4000)], ids=["metadata", "costly", "mutated"])
def test_no_file_takes_long_or_much_memory(make):
    def read(content):
        try:
            pictures.read_image(content)
        except pictures.PictureError as error:
            return str(error)

    for kind in ["PNG", "JPEG", "WEBP"]:  # what a first use loads
        read(saved(Image.new("RGB", (90, 90)), kind))
    files, errors = list(make()), []
    for name, content in files:
        error, seconds, growth = spent(os.getpid(), lambda content=content: read(content))
        assert len(content) <= 10**6 and seconds < 0.3 and growth < 50, (name, seconds, growth)
        errors += [error] if error is not None else []
    assert all(error and "\n" not in error for error in errors)
    assert len(errors) < 0.9 * len(files), errors
