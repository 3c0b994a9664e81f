"""Out-of-distribution images that are drawn or computed: printed letters and turned digits.

All are (n, 28, 28, 1) float32 in [0, 1]. None takes part in a training or a calibration.
"""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hypersphere import datasets, outliers

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # I and O are digits to any reader
FONTS = [  # of those that matplotlib ships, all with plain Latin capitals
    *[f"DejaVuSans{width}{style}" for width in ["", "Mono"] for style in ["", "-Bold", "-Oblique", "-BoldOblique"]],
    *[f"DejaVuSerif{style}" for style in ["", "-Bold", "-Italic", "-BoldItalic"]],
    *[f"STIXGeneral{style}" for style in ["", "Bol", "Italic", "BolIta"]],
    *["cmb10", "cmr10", "cmss10", "cmtt10"],
]
UNREADABLE_TURNED = [3, 4, 7]  # by 180 degrees: 0, 1 and 8 stay, 6 and 9 change places, 2 and 5 pass for themselves


def draw_letters(copies=2, seed=0):
    """Printed capitals, white on black: `copies` of each of 24 letters in each of 20 fonts, (n, 28, 28, 1).

    Regular, bold and slanted, 12 to 20 pixels high, turned by up to 20 degrees, in the middle of the image.
    """
    rng = np.random.default_rng(seed)
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    scale = 8  # drawn large and reduced, which smooths the edges
    images = []
    for name in FONTS:
        font = ImageFont.truetype(str(folder / f"{name}.ttf"), size=28 * scale)
        for letter in LETTERS:
            left, top, right, bottom = font.getbbox(letter)
            for _ in range(copies):
                height, angle = rng.uniform(12, 20), rng.uniform(-20, 20)
                zoom = height * scale / (bottom - top)
                image = Image.new("L", (28 * scale, 28 * scale))
                drawn = Image.new("L", (right - left, bottom - top))
                ImageDraw.Draw(drawn).text((-left, -top), letter, fill=255, font=font)
                drawn = drawn.resize((round(drawn.width * zoom), round(drawn.height * zoom)))
                drawn = drawn.rotate(angle, Image.Resampling.BICUBIC, expand=True)
                image.paste(drawn, ((image.width - drawn.width) // 2, (image.height - drawn.height) // 2))
                images.append(np.asarray(image.resize((28, 28), Image.Resampling.BOX))[..., np.newaxis])
    return datasets.to_float(np.stack(images))


def load_split(classes, folder=None, smoke=False):
    """Training, validation and test images of the digits below `classes`, three (x, y), and OOD images, {set: x}.

    All ten digits meet what `load_far` gives, printed letters and turned digits; fewer meet the others' test images.
    Also a sentence on what of these could not be had.
    """
    splits = datasets.load_mnist(folder, smoke)
    learned = [(x[y < classes], y[y < classes]) for x, y in splits]
    x, y = splits[2]
    if classes < 10:
        return learned, {"digits 5-9": x[y >= classes]}, ""
    sets, missing = outliers.load_far(folder)
    sets |= {"printed letters": draw_letters(), "turned digits": x[np.isin(y, UNREADABLE_TURNED), ::-1, ::-1]}
    return learned, {name: x[: datasets.SMOKE["test"] if smoke else None] for name, x in sets.items()}, missing
