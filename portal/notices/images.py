"""What a picture is, by its own first bytes: the name and type a browser sends along prove nothing."""

from __future__ import annotations

from dataclasses import dataclass

LOGO_LIMIT_BYTES = 256 * 1024  # octets
_SIDE_LIMIT = 2_000  # pixels
LOGO_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers that tell the size (ISO 10918-1)


class InvalidImage(ValueError):
    """The file cannot be a logo; the message is one plain sentence."""


@dataclass(frozen=True)
class Image:
    """What was recognised."""

    media_type: str
    width: int
    height: int


def identify_image(data: bytes) -> Image:
    """Return what a file is. Raises InvalidImage."""
    if len(data) > LOGO_LIMIT_BYTES:
        raise InvalidImage(
            f"The file has {len(data) // 1024} KB. Choose one of at most {LOGO_LIMIT_BYTES // 1024} KB."
        )
    picture = _png(data) or _gif(data) or _jpeg(data)
    if picture is None:
        raise InvalidImage("This is no PNG, JPEG or GIF picture. Mail programmes show no others.")
    if not (0 < picture.width <= _SIDE_LIMIT and 0 < picture.height <= _SIDE_LIMIT):
        raise InvalidImage(
            f"The picture measures {picture.width} × {picture.height} pixels. "
            f"Choose one of at most {_SIDE_LIMIT} × {_SIDE_LIMIT}."
        )
    return picture


def _png(data: bytes) -> Image | None:
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or data[12:16] != b"IHDR" or b"IEND" not in data[-16:]:
        return None
    return Image("image/png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))


def _gif(data: bytes) -> Image | None:
    if data[:6] not in (b"GIF87a", b"GIF89a") or len(data) < 14:
        return None
    return Image("image/gif", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))


def _jpeg(data: bytes) -> Image | None:
    """Walk from marker to marker until one tells the size."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return Image("image/jpeg", width, height)
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if length < 2:
            return None
        at += 2 + length
    return None
