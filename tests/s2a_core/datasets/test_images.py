"""Every kind of image becomes upright 8-bit RGB, and what cannot be read says why."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2a_core.datasets import images
from s2a_core.datasets.images import UnreadableImage, check_image, read_image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_png_mode_reads_as_rgb(mode: str) -> None:
    image = Image.new(mode, (7, 5), 1 if mode == "1" else None or 0)
    assert read_image(encoded(image)).mode == "RGB"
    assert read_image(encoded(image)).size == (7, 5)


def test_cmyk_jpeg_reads_as_rgb() -> None:
    red = read_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert np.asarray(red).reshape(-1, 3).mean(0) == pytest.approx([255, 0, 0], abs=4)


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(read_image(encoded(image))).min() == 255


def test_sixteen_bit_grey_keeps_its_upper_byte() -> None:
    values = np.array([[0, 256, 65535, 32768]], dtype=np.uint16)
    grey = np.asarray(read_image(encoded(Image.fromarray(values))))[0, :, 0]
    assert grey.tolist() == [0, 1, 255, 128]


def test_float_tiff_is_stretched() -> None:
    values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    grey = np.asarray(read_image(encoded(Image.fromarray(values), "TIFF")))[0, :, 0]
    assert grey.tolist() == [0, 128, 255]


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    assert read_image(encoded(image, "JPEG", exif=exif)).size == (10, 20)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert check_image(raw).num_frames == 2
    assert np.asarray(read_image(raw))[0, 0].tolist() == [255, 0, 0]


def test_a_large_jpeg_is_decoded_at_a_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LARGE_SIDE", 64)
    assert min(read_image(encoded(Image.new("RGB", (600, 512)), "JPEG")).size) == 64


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(UnreadableImage, match=r"too large \(20 x 10 pixels"):
        check_image(encoded(Image.new("RGB", (20, 10))))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello, this is text", "is not an image"),
        (b"\x89PNG\r\n\x1a\nrubbish", "is not an image|cannot be decoded"),
    ],
)
def test_what_is_no_image_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        check_image(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cut_off_file_is_found(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    raw = encoded(Image.fromarray(noise), kind)
    with pytest.raises(UnreadableImage, match="cannot be decoded"):
        check_image(raw[: len(raw) // 2])


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="does not exist"):
        read_image(tmp_path / "none.png")
