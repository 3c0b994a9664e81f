"""Pictures to MNIST's format: read whatever was sent, find the ink, fit it into 28x28 as MNIST's makers did."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ["PNG", "JPEG", "WEBP"]  # whose headers say how large they are: what is too large is not decoded
MAX_PIXELS = 4 * 10**6
MAX_SCANS = 20  # of a progressive JPEG, which usually has about ten; each costs a pass over all pixels
MAX_EXIF = 2**16  # bytes; tags that point at one long value are read once each
WORKING_SIZE = 560  # larger pictures are shrunk to this first
LEAST_CONTRAST = 0.1  # of black to white: below it nothing is drawn
LEAST_INK = 0.3  # of the darkest ink: what is fainter is background, or the blur of an enlarged picture
LEAST_SHARE = 1 / 7  # of the picture's longer side: what is smaller, as a dot, does not fill the box
BOX, SIZE, CENTER = 20, 28, 14  # pixels: the digit's box, the image, the row and column of its centre of mass


class BadImage(ValueError):
    """What was sent cannot be used; the message says why."""


class UnknownFormat(BadImage):
    """What was sent is not a picture of a known format."""


def read_image(content):
    """The brightness of a picture file's first frame, 0 to 1: bytes to (height, width) float32.

    Raises UnknownFormat if it is not a picture, BadImage if it is damaged or too large.
    """
    # By its first bytes: Pillow calls a JPEG that holds several pictures MPO.
    if content[:2] == b"\xff\xd8" and content.count(b"\xff\xda") > MAX_SCANS:
        raise BadImage(f"more than {MAX_SCANS} scans in a JPEG; save it anew")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(f"{image.width} x {image.height} pixels; send at most {MAX_PIXELS // 10**6} million")
            image.load()
            if max(len(image.info.get(key, b"")) for key in ["exif", "Raw profile type exif"]) > MAX_EXIF:
                raise BadImage(f"EXIF of more than {MAX_EXIF // 1024} kB; save the picture without it")
            return _brightness(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise UnknownFormat(f"not a picture; send one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise BadImage(f"too many pixels; send at most {MAX_PIXELS // 10**6} million") from None
    except BadImage:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of error on damaged files
        raise BadImage(f"damaged picture ({error})") from None


def _brightness(image):
    if image.mode.startswith("I"):  # 16 bits
        deep = Image.fromarray(np.asarray(image, np.float32) / (2**16 - 1))
        return np.asarray(_shrunk(deep))
    if image.mode in ["RGBA", "LA", "PA"] or "transparency" in image.info:
        image = _on_background(image.convert("RGBA"))
    gray = _shrunk(image.convert("RGB").convert("L"))
    return np.asarray(gray, np.float32) / 255


def _shrunk(image):
    factor = max(image.size) / WORKING_SIZE
    if factor <= 1:
        return image
    size = [max(1, round(side / factor)) for side in image.size]
    return image.resize(size, Image.Resampling.BOX)


def _on_background(image):
    """A transparent picture on white if its visible part is dark, else on black."""
    gray, alpha = image.convert("RGB").convert("L"), image.getchannel("A")
    opacity = np.asarray(alpha, np.float32).ravel()
    visible = np.average(np.asarray(gray).ravel(), weights=opacity) if opacity.any() else 0
    return Image.composite(gray, Image.new("L", image.size, 255 if visible < 128 else 0), alpha)


def prepare(brightness):
    """A picture as MNIST has it, light on dark: (height, width) to (28, 28) float32, 0 to 1; None if nothing is drawn.

    Light-on-dark and dark-on-light are told apart by the border, which shows the background. The ink is cropped,
    scaled into 20 x 20 pixels keeping its aspect, and moved by whole pixels until its centre of mass is at (14, 14),
    as in https://yann.lecun.org/exdb/mnist/
    """
    border = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    background = np.median(border)
    lighter, darker = np.maximum(brightness - background, 0), np.maximum(background - brightness, 0)
    ink = lighter if lighter.sum() >= darker.sum() else darker
    contrast = ink.max()
    if contrast < LEAST_CONTRAST:
        return None
    ink = ink / contrast
    uneven = np.quantile(np.abs(border - background), 0.9) / contrast  # paper is not as even as a canvas
    ink[ink < np.clip(1.5 * uneven, LEAST_INK, 0.7)] = 0
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in [1, 0])
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(*cropped.shape, LEAST_SHARE * max(brightness.shape))
    height, width = (max(1, round(side * scale)) for side in cropped.shape)
    small = np.asarray(Image.fromarray(cropped).resize((width, height), Image.Resampling.LANCZOS)).clip(0, 1)
    small = small / small.max()
    corner = [
        int(np.clip(round(CENTER - np.average(np.arange(side), weights=small.sum(axis=axis))), 0, SIZE - side))
        for side, axis in [(height, 1), (width, 0)]
    ]
    field = np.zeros((SIZE, SIZE), np.float32)
    field[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = small
    return field


def read_array(values):
    """A 28x28 list of MNIST's pixel values, 0 to 255 or 0 to 1, light on dark, to (28, 28) float32; None if all dark.

    Raises BadImage if it is none.
    """
    if len(values) != SIZE or any(not isinstance(row, list) or len(row) != SIZE for row in values):
        raise BadImage("pixels is not a 28x28 array; send 28 rows of 28 numbers")
    flat = [value for row in values for value in row]
    if any(type(value) not in (int, float) for value in flat):  # a bool is an int, but no brightness
        raise BadImage("pixels holds what is not a number from 0 to 255")
    if not all(0 <= value <= 255 for value in flat):
        raise BadImage("pixels has values outside 0 to 255")
    array = np.array(values, np.float32)
    array /= 255 if array.max() > 1 else 1
    return array if array.max() >= LEAST_CONTRAST else None
