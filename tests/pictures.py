"""Pictures for tests, and how they are damaged."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image


def written(image: Image.Image, name: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def drawn(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return a picture whose upper left pixel differs from all others."""
    image = Image.effect_noise((width, height), 40).convert(mode)
    image.putpixel((0, 0), 255 if mode in ("L", "P") else (255, 0, 0, 0)[: len(image.getbands())])
    return image


def png(width: int = 300, height: int = 100) -> bytes:
    return written(Image.new("RGB", (width, height), "#7a1f3d"), "PNG")


def declared_png(width: int, height: int) -> bytes:
    """Return a small file that declares a picture of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 50_000)) + chunk(b"IEND", b"")


def turned(image: Image.Image, orientation: int, name: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return written(image, name, exif=exif)


GIF = written(Image.new("P", (40, 30)), "GIF")
