"""Recognition of image files by their content."""

from __future__ import annotations

import struct
import zlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.notices import branding


def png(width=300, height=100) -> bytes:
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


GIF = b"GIF89a" + struct.pack("<HH", 40, 30) + b"\0" * 10 + b";"
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab" + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 20, 50) + b"\0" * 20


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine pauses the process
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda b: b"\xff\xd8\xff" + b)))
def test_any_bytes_are_an_image_or_refused(data):
    try:
        assert branding.identify_image(data).media_type in branding.LOGO_EXTENSIONS
    except branding.InvalidImage as error:
        assert str(error)


def test_the_size_of_images_is_read():
    assert branding.identify_image(GIF) == branding.Image("image/gif", 40, 30)
    assert branding.identify_image(JPEG) == branding.Image("image/jpeg", 50, 20)
