"""Pictures to MNIST's format."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from demo import images
from hypersphere import pictures
from hypersphere.errors import InputError
from picture_files import enlarged, saved


def prepared(content):
    return images.prepare(pictures.read_image(content))


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
    digit = enlarged(digits[0])
    expected = prepared(saved(digit))
    for picture in [ImageOps.invert(digit), Image.fromarray(np.uint8(220 - 0.6 * np.asarray(digit)))]:
        np.testing.assert_allclose(prepared(saved(picture)), expected, atol=0.02)


def on_canvas(page):
    canvas = Image.new("RGBA", (480, 480))
    canvas.paste(page, (100, 100))
    return canvas


def cut_out(picture, radius):
    """A picture with round corners, transparent outside, with smooth edges."""
    mask = Image.new("L", (4 * picture.width, 4 * picture.height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 4 * radius, fill=255)
    picture = picture.convert("RGBA")
    picture.putalpha(mask.resize(picture.size))
    return picture


def with_shadow(page):
    canvas, shadow = Image.new("RGBA", (480, 480)), Image.new("L", (480, 480))
    shadow.paste(150, (90, 95, 390, 405))
    canvas.putalpha(shadow.filter(ImageFilter.GaussianBlur(20)))
    canvas.alpha_composite(page.convert("RGBA"), (100, 100))
    return canvas


PAGES = {
    "margin": on_canvas,
    "round": lambda page: cut_out(page, 140),
    "round, with a margin": lambda page: on_canvas(cut_out(page, 140)),
    "rounded corners": lambda page: cut_out(page, 40),
    "shadow": with_shadow,
    "large, with a shadow": lambda page: with_shadow(page).resize((1200, 1200)),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("is_light", [True, False], ids=["light page", "dark page"])
@pytest.mark.parametrize("page", PAGES)
def test_an_opaque_page_goes_on_where_the_picture_is_transparent(page, is_light, kind, digits):
    digit = enlarged(digits[0])
    picture = PAGES[page](ImageOps.invert(digit) if is_light else digit)
    assert np.abs(prepared(saved(picture, kind)) - prepared(saved(digit))).mean() < 0.01


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.5, 2])
def test_size_and_place_do_not_matter(scale, digits):
    side = round(280 * scale)
    picture = Image.new("L", (3 * side, 2 * side))
    picture.paste(enlarged(digits[2]).resize((side, side), Image.Resampling.BICUBIC), (side, side // 3))
    field = prepared(saved(picture))
    np.testing.assert_allclose(field, prepared(saved(enlarged(digits[2]))), atol=0.4)
    assert max(np.ptp(np.argwhere(field > 0.05), axis=0) + 1) == 20
    np.testing.assert_allclose(np.average(np.indices((28, 28)).reshape(2, -1), 1, field.ravel()), 14, atol=0.6)


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_an_empty_picture_is_none_and_a_dot_stays_small(gray):
    assert prepared(saved(Image.new("L", (280, 280), gray))) is None
    assert prepared(saved(Image.new("RGBA", (280, 280), (gray, gray, gray, 0)))) is None
    assert prepared(saved(Image.effect_noise((280, 280), 3))) is None
    assert np.count_nonzero(prepared(saved(ImageOps.expand(Image.new("L", (22, 22), 255), 129)))) <= 12**2


def test_arrays_are_read_as_they_are(digits):
    for factor in [255, 1, 1.02]:  # 1.02: as resizing overshoots
        read = images.read_array((factor * digits[3]).tolist())
        np.testing.assert_allclose(read, digits[3], atol=0.03 if factor == 1.02 else 1e-2)
        assert read.max() <= 1
    assert images.read_array(np.zeros((28, 28)).tolist()) is None


BAD = {
    "none": [],
    "flat": [0] * 28,
    "ragged": [*[[1] * 28] * 27, [1]],
    "deep": [[[0]] * 28] * 28,
    "words": [["7"] * 28] * 28,
    "truths": [[True] * 28] * 28,
    "NaN": [[float("nan")] * 28] * 28,
    "huge": [[10**400] * 28] * 28,
    "negative": [[-1] * 28] * 28,
    "too light": [[256] * 28] * 28,
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_named(case):
    with pytest.raises(InputError, match="28 rows of 28 numbers from 0 to 255"):
        images.read_array(BAD[case])
