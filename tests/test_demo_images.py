"""Pictures to MNIST's format."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from conftest import run_python
from demo import images
from hypersphere import datasets


@pytest.fixture(scope="module")
def digits():
    _, _, (x, _) = datasets.load_mnist()
    return x[:100, ..., 0]


def enlarged(digit):
    """A digit of 28x28 as a picture of 280x280, light on dark."""
    return Image.fromarray(np.uint8(255 * digit)).resize((280, 280), Image.Resampling.NEAREST)


def saved(picture, kind="PNG", **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def inverted(picture):
    return Image.fromarray(255 - np.asarray(picture))


def prepared(content):
    return images.prepare(images.read_image(content))


def test_an_enlarged_digit_comes_back(digits):
    differences = []
    for digit in digits:
        back = prepared(saved(enlarged(digit)))
        assert back.shape == (28, 28) and back.dtype == np.float32
        # The centre of mass may round to the next pixel, since the faintest ink is taken for background.
        moved = [np.roll(back, (row, column), (0, 1)) for row in [-1, 0, 1] for column in [-1, 0, 1]]
        differences.append(min(np.abs(image - digit).mean() for image in moved))
    assert np.median(differences) < 0.015 and max(differences) < 0.08


def test_ink_is_told_from_paper(digits):
    expected = prepared(saved(enlarged(digits[0])))
    paper = Image.fromarray(np.uint8(220 - 0.6 * np.asarray(enlarged(digits[0]))))
    for picture in [inverted(enlarged(digits[0])), paper]:
        np.testing.assert_allclose(prepared(saved(picture)), expected, atol=0.02)


def colored(digit, ink, alpha):
    """The digit as a transparent picture: ink of one colour where the digit is."""
    mask = np.asarray(enlarged(digit))
    return Image.merge(
        "RGBA", [Image.fromarray(np.full_like(mask, value)) for value in ink] + [Image.fromarray(alpha(mask))]
    )


VARIANTS = {
    "L": lambda digit: saved(enlarged(digit)),
    "RGB": lambda digit: saved(enlarged(digit).convert("RGB")),
    "palette": lambda digit: saved(enlarged(digit).convert("P")),
    "16 bits": lambda digit: saved(Image.fromarray(np.asarray(enlarged(digit)).astype(np.uint16) * 257)),
    "transparent, dark ink": lambda digit: saved(colored(digit, (20, 0, 60), lambda mask: mask)),
    "transparent, light ink": lambda digit: saved(colored(digit, (255, 255, 200), lambda mask: mask)),
    "grey with alpha": lambda digit: saved(enlarged(digit).convert("LA")),
    "JPEG": lambda digit: saved(enlarged(digit), "JPEG", quality=95),
    "CMYK JPEG": lambda digit: saved(enlarged(digit).convert("RGB").convert("CMYK"), "JPEG", quality=95),
    "WebP": lambda digit: saved(enlarged(digit), "WEBP", lossless=True),
    "on its side in EXIF": lambda digit: saved(
        enlarged(digit).transpose(Image.Transpose.ROTATE_90), exif=on_its_side()
    ),
}


def on_its_side():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    return exif


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_file_is_read(variant, digits):
    expected = prepared(saved(enlarged(digits[1])))
    np.testing.assert_allclose(prepared(VARIANTS[variant](digits[1])), expected, atol=0.12)


@pytest.mark.parametrize("scale", [0.25, 0.5, 2, 2.9])
def test_size_and_place_do_not_matter(scale, digits):
    side = round(280 * scale)
    picture = Image.new("L", (3 * side, 2 * side))
    picture.paste(enlarged(digits[2]).resize((side, side), Image.Resampling.BICUBIC), (side, side // 3))
    np.testing.assert_allclose(prepared(saved(picture)), prepared(saved(enlarged(digits[2]))), atol=0.4)
    field = prepared(saved(picture))
    ink = np.argwhere(field > 0.05)
    assert max(np.ptp(ink, axis=0) + 1) == 20
    np.testing.assert_allclose(np.average(np.indices((28, 28)).reshape(2, -1), 1, field.ravel()), 14, atol=0.6)


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_an_empty_picture_is_none(gray):
    assert prepared(saved(Image.new("L", (280, 280), gray))) is None
    assert prepared(saved(Image.new("RGBA", (280, 280), (0, 0, 0, 0)))) is None
    faint = Image.effect_noise((280, 280), 3)
    assert prepared(saved(faint)) is None


def test_a_dot_stays_small():
    picture = np.zeros((280, 280), np.uint8)
    picture[130:152, 130:152] = 255
    assert np.count_nonzero(prepared(saved(Image.fromarray(picture)))) <= 12**2


def bomb(width, height):
    """A PNG file that promises many pixels and has one."""

    def chunk(content):
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT" + zlib.compress(b"\0\0")) + chunk(b"IEND")


def rle_bitmap(width):
    """A BMP file of 68 bytes whose run-length code jumps far to the right and down, which Pillow fills with zeros."""
    pixels = b"\x00\x02\xff\xff\x00\x01"
    info = struct.pack("<IiiHHIIiiII", 40, width, 1000, 1, 8, 1, len(pixels), 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62 + len(pixels), 0, 0, 62) + info + bytes(8) + pixels


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", images.UnknownFormat, "not a picture"),
        (b"seven", images.UnknownFormat, "not a picture"),
        (saved(Image.new("L", (9, 9)), "TIFF"), images.UnknownFormat, "PNG"),
        (bomb(50_000, 50_000), images.BadImage, "pixels"),
        (bomb(5000, 5000), images.BadImage, "5000 x 5000"),
        (bomb(2001, 2000), images.BadImage, "2001 x 2000"),
        (rle_bitmap(10**6), images.UnknownFormat, "not a picture"),
        (bomb(20, 20), images.BadImage, "damaged"),
        (saved(Image.effect_noise((99, 99), 90))[:2000], images.BadImage, "damaged"),
    ],
    ids=["empty", "text", "TIFF", "bomb", "too large", "just too large", "RLE bitmap", "no pixels", "truncated"],
)
def test_bad_files_are_named(content, kind, words):
    with pytest.raises(kind, match=words):
        images.read_image(content)


def with_many_scans(content):
    """A progressive JPEG file with its first scan repeated: it can be decoded, at a pass over all pixels for each."""
    start = content.index(b"\xff\xda")
    end = re.compile(rb"\xff[^\0\xd0-\xd7]").search(content, start + 2).start()
    return content[:end] + content[start:end] * 200 + content[end:]


def of_several_pictures():
    """A JPEG file of two pictures, the first with many scans: Pillow opens it as MPO."""
    pictures = [Image.effect_noise((64, 64), 90) for _ in range(2)]
    content = with_many_scans(saved(pictures[0], "MPO", save_all=True, append_images=pictures[1:], progressive=True))
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.format == "MPO" and opened.convert("L").size == (64, 64)
    return content


@pytest.mark.parametrize(
    "content",
    [with_many_scans(saved(Image.effect_noise((64, 64), 90), "JPEG", progressive=True)), of_several_pictures()],
)
def test_scans_are_counted_before_anything_is_decoded(content, monkeypatch):
    monkeypatch.setattr(images.Image, "open", None)
    with pytest.raises(images.BadImage, match="more than 20 scans"):
        images.read_image(content)


def with_exif_of(n_bytes):
    """A PNG file whose EXIF has 1,000 tags that point at one long value."""
    n_tags = 1000
    tags = b"".join(struct.pack("<HHII", 0x9000 + number, 7, n_bytes, 10 + 12 * n_tags) for number in range(n_tags))
    exif = b"II*\0" + struct.pack("<IH", 8, n_tags) + tags + bytes(n_bytes)
    return saved(Image.new("L", (9, 9)), exif=exif)


def test_long_exif_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(images.ImageOps, "exif_transpose", None)
    with pytest.raises(images.BadImage, match="EXIF of more than 64 kB"):
        images.read_image(with_exif_of(900_000))


def test_reading_pictures_needs_no_tensorflow():
    assert (
        run_python("import sys, demo.images; print('tensorflow' in sys.modules, 'keras' in sys.modules)")
        == "False False"
    )


def test_arrays_are_read_as_they_are(digits):
    values = np.uint8(255 * digits[3])
    np.testing.assert_allclose(images.read_array(values.tolist()), digits[3], atol=1e-2)
    np.testing.assert_allclose(images.read_array((values / 255).tolist()), digits[3], atol=1e-2)
    assert images.read_array(np.zeros((28, 28)).tolist()) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "28 rows"),
        (np.zeros((27, 28)).tolist(), "28 rows"),
        ([[1, 2], [3]], "28 rows"),
        ([["a"] * 28] * 28, "not a number"),
        ([[None] * 28] * 28, "not a number"),
        ([[10**400] * 28] * 28, "outside"),
        ([["x" * 300_000, *[""] * 27], *[[""] * 28] * 27], "not a number"),
        ([0] * 28, "28 rows"),
        ([[True] * 28] * 28, "not a number"),
        ([[float("nan")] * 28] * 28, "outside"),
        ([[-1] * 28] * 28, "outside"),
        ([[256] * 28] * 28, "outside"),
    ],
    ids=[
        "none",
        "rows",
        "ragged",
        "words",
        "nulls",
        "huge",
        "a long word",
        "flat",
        "truths",
        "NaN",
        "negative",
        "too light",
    ],
)
def test_bad_arrays_are_named(values, words):
    with pytest.raises(images.BadImage, match=words):
        images.read_array(values)
