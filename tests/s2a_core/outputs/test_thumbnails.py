"""Pictures become small data addresses."""

from PIL import Image

from s2a_core.outputs.thumbnails import thumbnail


def test_any_picture_becomes_a_small_jpeg_address() -> None:
    for size in ((8, 8), (900, 300)):
        assert thumbnail(Image.new("L", size)).startswith("data:image/jpeg;base64,")
