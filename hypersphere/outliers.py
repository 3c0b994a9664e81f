"""Out-of-distribution images for a network of digits: (n, 28, 28, 1) float32 in [0, 1].

Nothing here takes part in a training or a calibration.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from hypersphere import datasets, pictures
from hypersphere.errors import InputError

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # I and O are digits to any reader
FONTS = [  # of those that matplotlib ships, all with plain Latin capitals
    *[f"DejaVuSans{style}" for style in ["", "-Bold", "-Oblique", "-BoldOblique"]],
    *[f"DejaVuSansMono{style}" for style in ["", "-Bold", "-Oblique", "-BoldOblique"]],
    *[f"DejaVuSerif{style}" for style in ["", "-Bold", "-Italic", "-BoldItalic"]],
    *[f"STIXGeneral{style}" for style in ["", "Bol", "Italic", "BolIta"]],
    *["cmb10", "cmr10", "cmss10", "cmtt10"],
]
MAX_PIXELS = 5 * 10**7  # of an image in a folder of one's own
UNREADABLE_TURNED = [3, 4, 7]  # 0, 1 and 8 stay, 6 and 9 change places, 2 and 5 still pass for themselves


def to_grey_digit_size(image):
    """A PIL image to (28, 28, 1) bytes: ITU-R 601 luma, antialiased bilinear resize, as MNIST's size."""
    return np.asarray(image.convert("L").resize((28, 28), Image.Resampling.BILINEAR))[..., np.newaxis]


def to_grey_digit_sizes(images):
    """Colour images as bytes, (n, h, w, 3), each as `to_grey_digit_size`: (n, 28, 28, 1) float32 in [0, 1]."""
    return datasets.to_float(np.stack([to_grey_digit_size(Image.fromarray(image)) for image in images]))


def load_grey_cifar10(folder=None):
    """CIFAR-10's 10,000 test images, grey, resized: (10000, 28, 28, 1) float32 in [0, 1]."""
    images, _ = datasets.read_cifar10(datasets.find_cifar10(folder) / "test_batch.bin")
    return to_grey_digit_sizes(images)


def load_photograph_patches():
    """Natural images without a download: (660, 28, 28, 1) float32 in [0, 1].

    The two 427 x 640 photographs that scikit-learn ships, grey, cut into 15 x 22 tiles each.
    """
    from sklearn.datasets import load_sample_images

    patches = []
    for photograph in load_sample_images().images:
        grey = np.asarray(Image.fromarray(photograph).convert("L"))  # (427, 640)
        rows, columns = grey.shape[0] // 28, grey.shape[1] // 28
        tiles = grey[: rows * 28, : columns * 28].reshape(rows, 28, columns, 28)
        patches.append(tiles.swapaxes(1, 2).reshape(-1, 28, 28, 1))
    return datasets.to_float(np.concatenate(patches))


def load_image_folder(folder):
    """The PNG, JPEG and WebP images of a folder, in order of name: (n, 28, 28, 1) float32 in [0, 1].

    Each is read by `pictures.read_image`, cropped to a centred square and resized. Unreadable files and those of more
    than 50 million pixels are named on standard error and skipped. Raises InputError if the folder is missing or holds
    no image.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; name a folder of PNG, JPEG or WebP images")
    images = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp"}:
            continue
        try:
            grey = Image.fromarray(np.uint8(255 * pictures.read_image(path.read_bytes(), MAX_PIXELS) + 0.5))
            images.append(to_grey_digit_size(ImageOps.fit(grey, (min(grey.size),) * 2)))
        except (OSError, pictures.PictureError) as error:
            print(f"skipped {path}: not a readable image ({error})", file=sys.stderr)
    if not images:
        raise InputError(f"{folder}: no readable PNG, JPEG or WebP image; put some there or name another folder")
    return datasets.to_float(np.stack(images))


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


def turned_digits(folder=None):
    """MNIST's test images of 3, 4 and 7, turned by 180 degrees: no longer digits to any reader."""
    x, y = datasets.load_labelled("mnist", "t10k", folder)
    return x[np.isin(y, UNREADABLE_TURNED), ::-1, ::-1]


def noise(kind, n=1000, seed=0):
    """Independent pixels: "uniform" in [0, 1], or "gaussian" around 0.5 (sd 0.25), clipped."""
    rng = np.random.default_rng(seed)
    shape = (n, 28, 28, 1)
    x = rng.random(shape) if kind == "uniform" else rng.normal(0.5, 0.25, shape).clip(0, 1)
    return x.astype(np.float32)


def load_far(folder=None, own_folder=None, strict=False, smoke=False):
    """Far-OOD sets by name, and a sentence on what is missing ("" if nothing is).

    Fashion-MNIST, grey CIFAR-10, tiles of photographs and, if `own_folder` is given, its images. Without CIFAR-10 its
    set is left out; `strict` raises DownloadError instead. `smoke` keeps the first images of each set.
    Returns ({name: (n, 28, 28, 1) float32 in [0, 1]}, sentence).
    """
    sets = {"Fashion-MNIST": datasets.load_labelled("fashion-mnist", "t10k", folder)[0]}
    missing = ""
    try:
        sets["CIFAR-10"] = load_grey_cifar10(folder)
    except datasets.DownloadError as error:
        if strict:
            raise
        missing = str(error)
    sets["photographs"] = load_photograph_patches()
    if own_folder:
        sets["own folder"] = load_image_folder(own_folder)
    return _first_images(sets, smoke), missing


def load_all(folder=None, smoke=False):
    """As `load_far`, with printed letters, noise and turned digits too."""
    sets, missing = load_far(folder)
    sets |= {
        "printed letters": draw_letters(),
        "uniform noise": noise("uniform"),
        "Gaussian noise": noise("gaussian"),
        "turned digits": turned_digits(folder),
    }
    return _first_images(sets, smoke), missing


def _first_images(sets, smoke):
    return {name: images[: datasets.SMOKE["test"]] for name, images in sets.items()} if smoke else sets
