"""Picture files for the tests: the same digit in every format, and files made to cost a reader time or memory."""

import io
import re
import struct
import zlib

import numpy as np
from PIL import Image


def enlarged(digit):
    """A digit of 28x28 as a picture of 280x280, light on dark."""
    return Image.fromarray(np.uint8(255 * digit)).resize((280, 280), Image.Resampling.NEAREST)


def saved(picture, kind="PNG", **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def colored(digit, ink):
    """The digit as a transparent picture: ink of one colour where the digit is."""
    picture = Image.new("RGB", (280, 280), ink)
    picture.putalpha(enlarged(digit))
    return picture


VARIANTS = {
    "L": lambda digit: saved(enlarged(digit)),
    "RGB": lambda digit: saved(enlarged(digit).convert("RGB")),
    "palette": lambda digit: saved(enlarged(digit).convert("P")),
    "16 bits": lambda digit: saved(Image.fromarray(np.asarray(enlarged(digit)).astype(np.uint16) * 257)),
    "transparent, dark ink": lambda digit: saved(colored(digit, (20, 0, 60))),
    "transparent, light ink": lambda digit: saved(colored(digit, (255, 255, 200))),
    "grey with alpha": lambda digit: saved(enlarged(digit).convert("LA")),
    "JPEG": lambda digit: saved(enlarged(digit), "JPEG", quality=95),
    "CMYK JPEG": lambda digit: saved(enlarged(digit).convert("RGB").convert("CMYK"), "JPEG", quality=95),
    "WebP": lambda digit: saved(enlarged(digit), "WEBP", lossless=True),
}


def png_chunk(name, body=b""):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(size, depth, colour, rows, interlaced=0, before=b""):
    """A PNG file of rows as they are compressed, each after the number of its filter; `before` goes before them."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + before + png_chunk(b"IDAT", zlib.compress(rows, 1)) + png_chunk(b"IEND")


def bomb(width, height):
    """A PNG file that promises many pixels and has one."""
    return png((width, height), 8, 0, b"\0\0")


def with_many_scans(content, times=200):
    """A progressive JPEG file with its first scan repeated: it can be decoded, at a pass over all pixels for each."""
    start = content.index(b"\xff\xda")
    end = re.compile(rb"\xff[^\0\xd0-\xd7]").search(content, start + 2).start()
    return content[:end] + content[start:end] * times + content[end:]


def exif(orientation=6, n_tags=900, n_bytes=32_000, order="<"):
    """EXIF whose tags, besides the orientation, all point at one long value."""
    place = 8 + 2 + 12 * (n_tags + 1)
    tags = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    tags += b"".join(struct.pack(order + "HHII", 0x9000 + number, 7, n_bytes, place) for number in range(n_tags))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, n_tags + 1)
    return start + tags + bytes(n_bytes)


def webp_of_many_codes(side):
    """A lossless WebP file with a set of prefix codes for every 4 x 4 pixels, which take a decoder 6 kB each."""

    def codes(n_symbols):
        """A prefix code in which the first 256 symbols have 8 bits, and the others none."""
        lengths = [1 if number in [2, 11] else 0 for number in range(12)]  # of the symbols 0 and 8, in WebP's order
        return "0" + "0001" + "".join(f"{length}00" for length in lengths) + "0" + "1" * 256 + "0" * (n_symbols - 256)

    def number(value, n_bits):
        return f"{value:0{n_bits}b}"[::-1]

    n_sets, one_symbol = (side // 4) ** 2, "1000"
    bits = number(0x2F, 8) + 2 * number(side - 1, 14) + "0000" + "001" + "000" + "0"
    bits += codes(280) + codes(256) + 3 * one_symbol
    bits += "".join(f"{chosen & 255:08b}{chosen >> 8 & 255:08b}" for chosen in range(n_sets))
    bits += 5 * one_symbol * min(n_sets, 2**16) + "0" * 800
    body = np.packbits(np.array([*bits], np.uint8), bitorder="little").tobytes()
    body = b"WEBPVP8L" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_metadata():
    """Small pictures with metadata that takes long or much memory to read, by name: in one part, or in many."""
    small = Image.new("L", (90, 60))
    start, end = saved(small)[:33], saved(small)[33:]
    jpeg, webp = saved(small, "JPEG"), saved(small, "WEBP", exif=exif())
    packed = zlib.compress(bytes(10**6), 9)
    texts = {
        "zTXt": b"Raw profile type exif\0\0" + packed,
        "iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + packed,
        "tEXt": b"Raw profile type exif\0\nexif\n 450000\n" + b"4d4d" * 225_000,
        "iCCP": b"x\0\0" + packed,
        "eXIf": exif(),
    }
    segments = {
        "EXIF": (0xE1, b"Exif\0\0" + exif()),
        "XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<x>" * 20_000),
        "MPF": (0xE2, b"MPF\0" + exif()),
        "ICC": (0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)),
        "Photoshop": (0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\0\0\0\0" * 5000),
        "Adobe": (0xEE, b"Adobe" + bytes(60_000)),
        "comment": (0xFE, bytes(60_000)),
        "no comment": (0xFE, b""),
        "quantization": (0xDB, b"".join(bytes([0, *[1] * 64]) for _ in range(900))),
    }
    parts = [(name, start, png_chunk(name.encode(), body), end) for name, body in texts.items()]
    for name, (marker, body) in segments.items():
        parts.append((name, jpeg[:2], bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body, jpeg[2:]))
    for name, before, part, after in parts:
        for times in [1, 900_000 // len(part)]:
            yield f"{times} {name}", before + part * times + after
    yield "80,000 empty tEXt", start + png_chunk(b"tEXt") * 80_000 + end
    yield "WebP", webp
    for name in [b"EXIF", b"XMP ", b"ICCP"]:
        chunk = name + struct.pack("<I", len(exif())) + exif()
        yield f"20 {name}", webp + chunk * 20
    yield "100,000 empty EXIF", webp + (b"EXIF" + bytes(4)) * 100_000


def costly():
    """Files of at most 1 MB that cost a decoder much, by name."""
    rng, (width, height) = np.random.default_rng(0), (1416, 1412)
    size = (width, height)
    for depth, channels in [(8, 4), (16, 4), (16, 3)]:
        rows = np.full((height, 1 + width * channels * depth // 8), 4, np.uint8)  # Paeth's filter, and 4 in each pixel
        rows[:110, 1:] = rng.integers(0, 256, rows[:110, 1:].shape) if depth == 8 else 3
        yield f"PNG {depth} bits x {channels}", png(size, depth, 6 if channels == 4 else 2, rows.tobytes())
    passes = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)]  # width and height of the cells
    rows = [np.full((-(-height // down), 1 + 8 * -(-width // right)), 4, np.uint8) for right, down in passes]
    yield "interlaced PNG", png(size, 16, 6, b"".join(row.tobytes() for row in rows), interlaced=1)
    rows = np.full((height, 1 + width), 4, np.uint8).tobytes()
    palette = png_chunk(b"PLTE", bytes(768)) + png_chunk(b"tRNS", bytes(range(256)))
    yield "palette PNG", png(size, 8, 3, rows, before=palette)
    yield "grey PNG of 16 bits", png(size, 16, 0, np.full((height, 1 + 2 * width), 4, np.uint8).tobytes())
    yield "thin PNG", png((1, 4 * 10**6), 8, 6, bytes(20 * 10**6))
    yield "many empty IDAT", png(size, 8, 0, rows, before=png_chunk(b"IDAT") * 70_000)
    yield "PNG that goes on", png((1, 1), 8, 0, bytes(200 * 10**6))
    noise = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    smooth = np.add.outer(np.arange(height), np.arange(4 * width)).astype(np.uint8).reshape(noise.shape)
    cmyk = saved(Image.frombytes("CMYK", size, noise.tobytes()), "JPEG", progressive=True, quality=1, subsampling=0)
    yield "progressive JPEG", with_many_scans(cmyk, times=2)
    yield "JPEG", saved(Image.fromarray(noise[..., :3].copy()), "JPEG", quality=20)
    yield "lossless WebP", saved(Image.fromarray(smooth), "WEBP", lossless=True, method=0)
    coarse = Image.fromarray(noise[::16, ::16]).resize(size)
    yield "animated WebP", saved(Image.fromarray(smooth), "WEBP", save_all=True, append_images=[coarse], quality=0)
    yield "WebP", saved(Image.fromarray(noise[..., :3].copy()), "WEBP", quality=10, method=0)
    for side in [316, 1024]:
        yield f"WebP with codes for {side} x {side}", webp_of_many_codes(side)


def mutated(n):
    """Small files, each damaged: bytes changed, cut off, a part doubled, or a length that is huge."""
    rng, small = np.random.default_rng(0), enlarged(np.tri(28)).resize((90, 90))
    colour = Image.merge("RGBA", [small, small, small, small])
    whole = [saved(picture, kind) for picture in [small, colour] for kind in ["PNG", "WEBP"]]
    whole += [saved(small, "JPEG"), saved(small, "JPEG", progressive=True, exif=exif(n_tags=9, n_bytes=9))]
    whole += [saved(colour, "WEBP", lossless=True), saved(colour, "PNG", exif=exif(n_tags=9, n_bytes=9))]
    whole += [saved(colour, kind, save_all=True, append_images=[colour.rotate(90)]) for kind in ["PNG", "WEBP"]]
    for number in range(n):
        content = bytearray(whole[number % len(whole)])
        first, last = sorted(rng.integers(2, len(content), 2))
        way = number // len(whole) % 4
        if way == 0:
            for place in rng.integers(2, len(content), rng.integers(1, 9)):
                content[place] = rng.integers(256)
        elif way == 1:
            del content[last:]
        elif way == 2:
            content[last:last] = content[first:last] * int(rng.integers(1, 50))
        else:
            place = rng.integers(2, min(200, len(content)))
            content[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)])
        yield f"mutated {number}", bytes(content)
