"""Pictures that owners upload: decoded once, so that a broken one is refused, and turned the right way up.

A picture is public and opened by every mail program, so only what Pillow decodes without an error is kept. The sides are
read from the header before anything is decoded: a file of 256 KB can declare a picture of many gigabytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import IO

from flask_babel import gettext as _
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

LIMIT_BYTES = 256 * 1024
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}
_MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif"}
_SIDE_LIMIT_PX = 2_000
_DECODED_LIMIT_PX = 20_000_000  # of all frames of an animation together
_NOT_TURNED = 1  # the value of the EXIF tag Orientation of a picture that is upright
_JPEG_QUALITIES = (92, 85, 75)  # of a picture that was turned, until it fits into the limit
_UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    Image.DecompressionBombError,
)  # as Pillow raises


@dataclass(frozen=True)
class Picture:
    """A picture that can be shown: content, type, and size in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int


class InvalidPicture(ValueError):
    """The file cannot be used. The message is one sentence, or two, for the owner."""


def read_upload(stream: IO[bytes] | None) -> bytes:
    """Return the content of an uploaded file; empty without a file. Raises InvalidPicture if it is empty or too large."""
    if stream is None:
        return b""
    size = stream.seek(0, SEEK_END)
    stream.seek(0)
    if not size:
        raise InvalidPicture(_("The file is empty. Choose another one."))
    _require_size(size)
    return stream.read()


def read_picture(data: bytes) -> Picture:
    """Return the picture of a file, turned the right way up. The file's name and type can be wrong and are not read.

    Raises:
        InvalidPicture: the file is no PNG, JPEG or GIF, is broken, too large, or in the colours of print.
    """
    _require_size(len(data))
    try:
        image = Image.open(BytesIO(data), formats=tuple(_MEDIA_TYPES))
    except UnidentifiedImageError:
        raise InvalidPicture(
            _(
                "This is no PNG, JPEG or GIF picture, or its beginning is damaged. Mail programs show no others."
            )
        ) from None
    except Image.DecompressionBombError:
        limit = _SIDE_LIMIT_PX
        sentence = _(
            "The picture has too many pixels. Choose one of at most %(limit)s × %(limit)s.", limit=limit
        )
        raise InvalidPicture(sentence) from None
    except _UNDECODABLE:
        raise _broken() from None
    with image:
        return _check(image, data)


def _check(image: Image.Image, data: bytes) -> Picture:
    """Check an opened picture that is not decoded yet."""
    width, height = image.size
    if not (0 < width <= _SIDE_LIMIT_PX and 0 < height <= _SIDE_LIMIT_PX):
        raise InvalidPicture(
            _(
                "The picture measures %(width)s × %(height)s pixels. Choose one of at most %(limit)s × %(limit)s.",
                width=width,
                height=height,
                limit=_SIDE_LIMIT_PX,
            )
        )
    if image.mode in ("CMYK", "YCCK"):
        raise InvalidPicture(
            _(
                "The picture has the colours of print (CMYK), which mail programs show wrongly or not at all. "
                "Save it in RGB, such as by “Export for web”, and choose it again."
            )
        )
    try:
        _decode(image, data)
        orientation = image.getexif().get(ExifTags.Base.Orientation, _NOT_TURNED)
        if orientation == _NOT_TURNED or getattr(image, "n_frames", 1) > 1:
            return Picture(data, _MEDIA_TYPES[str(image.format)], width, height)
        return _turn(image)
    except _UNDECODABLE as error:
        raise error if isinstance(error, InvalidPicture) else _broken() from None


def _decode(image: Image.Image, data: bytes) -> None:
    """Decode every frame. Raises what Pillow raises at a broken one."""
    frames = int(getattr(image, "n_frames", 1))
    if frames * image.width * image.height > max(_DECODED_LIMIT_PX, image.width * image.height):
        raise InvalidPicture(
            _("The animation has %(count)s pictures, which are too many of this size.", count=frames)
        )
    if image.format == "PNG" and b"IEND" not in data:  # Pillow is content without the end
        raise _broken()
    for frame in range(frames):
        image.seek(frame)
        image.load()
    image.seek(0)


def _turn(image: Image.Image) -> Picture:
    """Return the picture as its camera held it, written anew. Mail programs differ in whether they turn pictures."""
    upright, name = ImageOps.exif_transpose(image), str(image.format)
    for quality in _JPEG_QUALITIES if name == "JPEG" else (0,):
        written = BytesIO()
        upright.save(written, name, **({"quality": quality} if quality else {}))
        if written.tell() <= LIMIT_BYTES:
            return Picture(written.getvalue(), _MEDIA_TYPES[name], *upright.size)
    raise InvalidPicture(
        _(
            "The picture lies on its side, and turned upright it is too large. Turn it and save it, then choose it again."
        )
    )


def _broken() -> InvalidPicture:
    return InvalidPicture(
        _(
            "The picture cannot be read to its end: the file is damaged or was cut off. Save it once more and choose it again."
        )
    )


def _require_size(size_bytes: int) -> None:
    if size_bytes > LIMIT_BYTES:
        raise InvalidPicture(
            _(
                "The file has %(size)s KB. Choose one of at most %(limit)s KB.",
                size=math.ceil(size_bytes / 1024),
                limit=LIMIT_BYTES // 1024,
            )
        )
