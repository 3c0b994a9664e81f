"""Picture files, PNG, JPEG and WebP, built anew of what decoding needs alone.

Text, profiles and EXIF, which can take seconds and hundreds of megabytes to read, are left out. Formats:
https://www.w3.org/TR/png, https://www.w3.org/Graphics/JPEG/itu-t81.pdf and
https://developers.google.com/speed/webp/docs/riff_container
"""

import re
import struct
import zlib
from dataclasses import dataclass

MAX_SCANS = 20  # of a progressive JPEG, which usually has about ten; each costs a pass over all pixels
MAX_SEGMENTS, MAX_TABLES = 500, 2 + 4 * 129  # of a JPEG or WebP; bytes of a JPEG's quantization tables
PNG, NEXT_MARKER = b"\x89PNG\r\n\x1a\n", re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
# EXIF's entry for the orientation: tag 0x0112, one number of two bytes, in either order of bytes.
ORIENTATION = re.compile(rb"\x12\x01\x03\0\x01\0\0\0([\x01-\x08])\0|\x01\x12\0\x03\0\0\0\x01\0([\x01-\x08])")


class PictureError(ValueError):
    """A picture file cannot be used; the message says why."""


class UnknownFormat(PictureError):
    """A file is not a picture of a known format."""


@dataclass
class Stripped:
    """A picture file with only what decoding needs, and what was learnt on the way; sizes are (width, height)."""

    kind: str
    content: bytes
    size: tuple
    orientation: int  # of EXIF, 1 to 8
    canvas: tuple = None  # of an animation, where the first frame's left upper corner is at `corner`
    corner: tuple = (0, 0)
    codes: int = 0  # of a lossless WebP, at most: as prefix codes are for 4 x 4 pixels or more, and of 4 bytes or more
    depth: int = 8  # bits a sample


def strip(content):
    """The first frame of a picture file, bytes, as `Stripped`.

    Raises UnknownFormat if it is not a picture, PictureError if it is damaged or costs too much to decode.
    """
    try:
        if content.startswith(PNG):
            return _strip_png(content)
        if content.startswith(b"\xff\xd8"):
            return _strip_jpeg(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _strip_webp(content)
    except (struct.error, KeyError, OverflowError):
        raise PictureError("damaged picture (a part is missing)") from None
    raise UnknownFormat("not a picture, neither PNG nor JPEG nor WebP")


def _strip_png(content):
    """Of an animation the default image."""
    kept, data, place = {}, [], len(PNG)
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if name == b"IDAT":
            data.append(content[place + 8 : place + 8 + length])
        elif name in [b"IHDR", b"PLTE", b"tRNS", b"eXIf"]:
            kept.setdefault(name, content[place + 8 : place + 8 + length])
        elif name == b"IEND":
            break
        place += length + 12
    exif = kept.pop(b"eXIf", b"")
    width, height, depth, colour = struct.unpack_from(">IIBB", kept[b"IHDR"])
    if b"tRNS" in kept and colour in [0, 2]:  # a colour, which Pillow compares after decoding, mostly to 8 bits
        values = struct.unpack_from(">H" if colour == 0 else ">3H", kept[b"tRNS"])
        if depth < 8:
            values = [value * 255 // (2**depth - 1) for value in values]
        elif (depth, colour) == (16, 2):
            values = [value >> 8 for value in values]
        kept[b"tRNS"] = struct.pack(f">{len(values)}H", *values)
    chunks = [(name, kept[name][:768]) for name in [b"IHDR", b"PLTE", b"tRNS"] if name in kept]
    chunks += [(b"IDAT", b"".join(data)), (b"IEND", b"")]
    written = PNG
    for name, body in chunks:
        written += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return Stripped("PNG", written, (width, height), _orientation(exif), depth=depth)


def _strip_jpeg(content):
    kept, size, exif, n_scans, place = [b"\xff\xd8"], (0, 0), b"", 0, 2
    for _ in range(MAX_SEGMENTS):
        found = NEXT_MARKER.search(content, place)
        marker, place = found[0][1] if found else 0xD9, found.end() if found else len(content)
        if marker == 0xD9:  # the end
            return Stripped("JPEG", b"".join(kept) + (found[0] if found else b""), size, _orientation(exif))
        (length,) = struct.unpack_from(">H", content, place)
        segment, place = content[place : place + length], place + max(length, 2)
        if marker == 0xEE and segment[2:7] == b"Adobe":  # says what the colours are
            kept.append(b"\xff\xee\0\x0e" + segment[2:14])
        elif marker == 0xE1 and segment[2:8] == b"Exif\0\0":
            exif = exif or segment[8:]
        elif marker in [0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD]:
            kept.append(found[0] + segment)
        elif 0xC0 < marker < 0xD0:
            raise PictureError("a JPEG neither baseline nor progressive; save it anew")
        if marker in [0xC0, 0xC1, 0xC2]:
            if any(size):
                raise PictureError("damaged picture (a JPEG of two sizes)")
            size = struct.unpack_from(">HH", segment, 3)[::-1]
        elif marker == 0xDB and length > MAX_TABLES:
            raise PictureError("too many quantization tables in a JPEG; save it anew")
        elif marker == 0xDA:
            n_scans += 1
            if n_scans > MAX_SCANS:
                raise PictureError(f"more than {MAX_SCANS} scans in a JPEG; save it anew")
            following = NEXT_MARKER.search(content, place)
            end = following.start() if following else len(content)
            kept.append(content[place:end])
            place = end
    raise PictureError(f"more than {MAX_SEGMENTS} segments in a JPEG; save it anew")


def _strip_webp(content):
    kept, canvas, corner = {}, None, (0, 0)
    for name, body in _riff_chunks(content, 12):
        if name == b"ANMF" and canvas is None:
            canvas = tuple(1 + int.from_bytes(kept[b"VP8X"][place : place + 3], "little") for place in [4, 7])
            corner = tuple(2 * int.from_bytes(body[place : place + 3], "little") for place in [0, 3])
            kept.update(_riff_chunks(body, 16))
        else:
            kept.setdefault(name, body)
    if b"VP8L" in kept:
        bits = int.from_bytes(kept[b"VP8L"][1:5], "little")
        size, names = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), [b"VP8L"]
    else:
        size, names = tuple(side & 0x3FFF for side in struct.unpack_from("<HH", kept[b"VP8 "], 6)), [b"VP8 "]
        if b"ALPH" in kept:
            kept[b"VP8X"] = struct.pack("<I", 0x10) + b"".join((side - 1).to_bytes(3, "little") for side in size)
            names = [b"VP8X", b"ALPH", b"VP8 "]
    codes = min(size[0] * size[1] // 16, len(kept.get(b"VP8L", kept.get(b"ALPH", b""))) // 4)
    parts = [name + struct.pack("<I", len(kept[name])) + kept[name] + bytes(len(kept[name]) % 2) for name in names]
    written = b"WEBP" + b"".join(parts)
    written = b"RIFF" + struct.pack("<I", len(written)) + written
    return Stripped("WEBP", written, size, _orientation(kept.get(b"EXIF", b"")), canvas, corner, codes)


def _riff_chunks(content, place):
    for _ in range(MAX_SEGMENTS):  # of what comes later nothing is needed
        if place + 8 > len(content):
            return
        name, length = struct.unpack_from("<4sI", content, place)
        if place + 8 + length > len(content):
            raise PictureError("damaged picture (cut off)")
        if name in [b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANMF", b"EXIF"]:
            yield name, content[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _orientation(exif):
    """How a picture is to be turned, 1 to 8; 1 is upright."""
    found = ORIENTATION.search(exif)
    return ord(found[1] or found[2]) if found else 1
