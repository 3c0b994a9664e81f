"""Out-of-distribution images for a network of digits: (n, 28, 28, 1) float32 in [0, 1].

Nothing here takes part in a training or a calibration.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hypersphere import datasets, pictures
from hypersphere.errors import InputError

MAX_PIXELS = 5 * 10**7  # of an image in a folder of one's own
CIFAR10_OOD_FILES = {"train": "data_batch_2.bin", "test": "test_batch.bin"}  # by split


def to_grey_digit_sizes(images):
    """Colour images as bytes, (n, h, w, 3), in grey and MNIST's size: (n, 28, 28, 1) float32 in [0, 1].

    ITU-R 601 luma; antialiased bilinear resize.
    """
    small = [Image.fromarray(image).convert("L").resize((28, 28), Image.Resampling.BILINEAR) for image in images]
    return datasets.to_float(np.stack(small)[..., np.newaxis])


def load_photograph_patches():
    """Natural images without a download: (660, 28, 28, 1) float32 in [0, 1].

    The two 427 x 640 photographs that scikit-learn ships, grey, cut into 15 x 22 tiles each.
    """
    from sklearn.datasets import load_sample_images

    grey = np.stack([Image.fromarray(photograph).convert("L") for photograph in load_sample_images().images])
    tiles = grey[:, : 15 * 28, : 22 * 28].reshape(2, 15, 28, 22, 28).swapaxes(2, 3)
    return datasets.to_float(tiles.reshape(-1, 28, 28, 1))


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
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"}):
        try:
            grey = Image.fromarray(np.uint8(255 * pictures.read_image(path.read_bytes(), MAX_PIXELS) + 0.5))
            square = ImageOps.fit(grey, (min(grey.size),) * 2)
            images.append(square.resize((28, 28), Image.Resampling.BILINEAR))
        except (OSError, pictures.PictureError) as error:
            print(f"skipped {path}: not a readable image ({error})", file=sys.stderr)
    if not images:
        raise InputError(f"{folder}: no readable PNG, JPEG or WebP image; put some there or name another folder")
    return datasets.to_float(np.stack(images)[..., np.newaxis])


def load_class_folders(folder, n_classes, n_images):
    """The images of a folder with a folder a class: x, (n, 28, 28, 1), and y, (n,), in order of the classes' names.

    Raises InputError if there are fewer than so many classes, or images of one.
    """
    folders = [path for path in sorted(Path(folder).glob("[!.]*")) if path.is_dir()]
    if len(folders) < n_classes:
        remedy = f"give a folder of at least {n_classes} folders, a class each"
        raise InputError(f"{folder}: {len(folders)} classes; {remedy}")
    classes = [load_image_folder(path) for path in folders]
    for path, images in zip(folders, classes, strict=True):
        if len(images) < n_images:
            raise InputError(f"{path}: {len(images)} images, but it needs {n_images}; add some")
    return np.concatenate(classes), np.repeat(np.arange(len(classes)), [len(images) for images in classes])


def load_far(folder=None, own_folder=None, strict=False, smoke=False, split="train"):
    """Far-OOD sets by name, and a sentence on what is missing ("" if nothing is).

    Fashion-MNIST, grey CIFAR-10, tiles of photographs and, if `own_folder` is given, its images. Without CIFAR-10 its
    set is left out; `strict` raises DownloadError instead. `smoke` keeps the first images of each set.
    split : of CIFAR-10, "test" or images 10,000 to 19,999 of "train".
    Returns ({name: (n, 28, 28, 1) float32 in [0, 1]}, sentence).
    """
    sets = {"Fashion-MNIST": datasets.load_labelled("fashion-mnist", "test", folder)[0]}
    missing = ""
    try:
        images, _ = datasets.read_cifar10(datasets.find_cifar10(folder) / CIFAR10_OOD_FILES[split])
        sets["CIFAR-10"] = to_grey_digit_sizes(images)
    except datasets.DownloadError as error:
        if strict:
            raise
        missing = str(error)
    sets["photographs"] = load_photograph_patches()
    if own_folder:
        sets["own folder"] = load_image_folder(own_folder)
    return {name: images[: datasets.SMOKE["test"] if smoke else None] for name, images in sets.items()}, missing
