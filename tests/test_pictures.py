"""Uploaded pictures are decoded once: broken ones are refused with the reason, and turned ones are stored upright."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from portal import pictures
from tests.pictures import GIF, declared_png, drawn, png, turned, written

PNG, JPEG = written(drawn(60, 40), "PNG"), written(drawn(60, 40), "JPEG")
ANIMATION = written(drawn(40, 30, "L"), "GIF", save_all=True, append_images=[drawn(40, 30, "L")] * 3)


@pytest.fixture(autouse=True)
def context(app_without_tables):
    """Sentences are translated, which needs an app."""


@pytest.fixture(scope="module")
def app_without_tables(tmp_path_factory):
    from portal import create_app
    from tests.conftest import make_config

    app = create_app(make_config(tmp_path_factory.mktemp("pictures")))
    with app.app_context():
        yield app


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=40).map(lambda data: b"\xff\xd8\xff" + data),
        st.tuples(
            st.sampled_from([PNG, JPEG, GIF, ANIMATION]), st.integers(0, 400), st.binary(max_size=8)
        ).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]),
    )
)
def test_any_bytes_are_a_picture_or_refused(data):
    try:
        assert pictures.read_picture(data).media_type in pictures.EXTENSIONS
    except pictures.InvalidPicture as error:
        assert str(error)


@pytest.mark.parametrize(
    ("data", "media_type", "size"),
    [
        (PNG, "image/png", (60, 40)),
        (JPEG, "image/jpeg", (60, 40)),
        (written(drawn(60, 40), "JPEG", progressive=True), "image/jpeg", (60, 40)),
        (written(drawn(60, 40, "L"), "JPEG"), "image/jpeg", (60, 40)),
        (written(drawn(60, 40, "P"), "PNG"), "image/png", (60, 40)),
        (written(drawn(60, 40, "RGBA"), "PNG"), "image/png", (60, 40)),
        (GIF, "image/gif", (40, 30)),
        (ANIMATION, "image/gif", (40, 30)),
        (png(2000, 2000), "image/png", (2000, 2000)),
        (turned(drawn(60, 40), 1), "image/jpeg", (60, 40)),
    ],
)
def test_a_picture_that_can_be_shown_is_kept_as_it_is(data, media_type, size):
    assert pictures.read_picture(data) == pictures.Picture(data, media_type, *size)


CUT = "cut off"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PNG[: len(PNG) // 2], CUT),
        (PNG[:-12], CUT),
        (PNG[:100] + b"garbage" * 9 + PNG[163:], CUT),
        (JPEG[: len(JPEG) // 2], CUT),
        (JPEG[:-40], CUT),
        (ANIMATION[: len(ANIMATION) // 2], CUT),
        (GIF[: len(GIF) - 6], CUT),
        (b"GIF89a", "no PNG, JPEG or GIF"),
        (b"<svg/>", "no PNG, JPEG or GIF"),
        (written(drawn(60, 40), "WEBP"), "no PNG, JPEG or GIF"),
        (written(drawn(60, 40), "TIFF"), "no PNG, JPEG or GIF"),
        (written(drawn(60, 40, "CMYK"), "JPEG"), "Save it in RGB"),
        (declared_png(3000, 10), "3000 × 10 pixels"),
        (declared_png(60_000, 60_000), "too many pixels"),
        (png() + b"\0" * 300_000, "at most 256 KB"),
        (PNG + b"\0" * (480 * 1024 - len(PNG)), "has 480 KB"),
    ],
)
def test_a_picture_that_cannot_be_shown_is_refused_with_the_reason(data, reason):
    with pytest.raises(pictures.InvalidPicture) as refused:
        pictures.read_picture(data)
    assert reason in str(refused.value)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_a_picture_that_lies_on_its_side_is_stored_upright(orientation, name):
    lying = turned(Image.new("RGB", (60, 40), "white"), orientation, name)
    picture = pictures.read_picture(lying)
    assert (picture.width, picture.height) == ((40, 60) if orientation >= 5 else (60, 40))
    with Image.open(BytesIO(picture.data)) as image:
        assert image.size == (picture.width, picture.height)
        assert 0x0112 not in image.getexif()


def test_an_upright_picture_has_its_corners_where_the_camera_saw_them():
    image = Image.new("RGB", (60, 40), "white")
    image.paste("red", (0, 0, 20, 20))
    with Image.open(BytesIO(pictures.read_picture(turned(image, 6, "PNG")).data)) as upright:
        assert upright.getpixel((35, 5)) == (255, 0, 0)
        assert upright.getpixel((5, 5)) == (255, 255, 255)


def test_a_small_file_that_decodes_to_very_much_is_refused_before_it_is_decoded():
    frame = Image.new("P", (2000, 2000))
    frames = [Image.new("P", (2000, 2000), color % 7) for color in range(12)]
    bomb = written(frame, "GIF", save_all=True, append_images=frames)
    assert len(bomb) <= pictures.LIMIT_BYTES
    tracemalloc.start()
    try:
        for data in (bomb, declared_png(65_000, 65_000)):
            with pytest.raises(pictures.InvalidPicture):
                pictures.read_picture(data)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_an_empty_upload_and_none_are_distinguished():
    assert pictures.read_upload(None) == b""
    assert pictures.read_upload(BytesIO(PNG)) == PNG
    with pytest.raises(pictures.InvalidPicture, match="empty"):
        pictures.read_upload(BytesIO())
