"""Every kind of image becomes upright 8-bit RGB, and what cannot be read says why."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2a_core.datasets import images
from s2a_core.datasets.images import UnreadableImage, check_image, common_ranges, read_image


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
    black = encoded(Image.new("RGB", (4, 4)), transparency=(0, 0, 0))  # one colour that is transparent
    assert np.asarray(read_image(black)).min() == 255


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


def sixteen_bit_png(values: np.ndarray) -> bytes:
    """A PNG of 16-bit colours, which Pillow cannot write. values: [H, W, 2 to 4]."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + values[row].astype(">u2").tobytes() for row in range(height))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_greys_of_few_significant_bits_are_as_bright_as_8_bit_copies(bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 8))
    wide = [(values << (bits - 8)).astype(np.uint16), (values << (bits - 8)).astype(np.int32)]
    files = [encoded(Image.fromarray(pixels), kind) for pixels, kind in zip(wide, ("PNG", "TIFF"), strict=True)]
    ranges = common_ranges(check_image(file).values for file in files)
    assert ranges == {"integer": (0.0, 2.0**bits - 1)}
    for file in files:
        grey = np.asarray(read_image(file, ranges))[..., 0].astype(int)
        assert np.abs(grey - values).max() <= 1


def test_one_range_keeps_dark_images_darker_than_bright_ones() -> None:
    dark, bright = (encoded(Image.fromarray(np.full((4, 4), value, np.uint16))) for value in (400, 4000))
    ranges = common_ranges(check_image(file).values for file in (dark, bright))
    means = [np.asarray(read_image(file, ranges)).mean() for file in (dark, bright)]
    assert means == pytest.approx([25, 249], abs=1)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_colours_of_12_bits_are_not_black(channels: int) -> None:
    values = np.full((3, 3, channels), 2048, np.uint16)
    if channels in (2, 4):
        values[..., -1] = 65535
    file = sixteen_bit_png(values)
    facts = check_image(file)
    assert facts.values == ("integer", 0.0 if facts.values is None else facts.values[1], 2048.0)
    assert np.asarray(read_image(file, {"integer": (0, 4095)})).mean() == pytest.approx(128, abs=1)


def test_floats_that_are_not_finite_do_not_stretch_the_range() -> None:
    values = np.array([[0.0, 10.0, np.inf, np.nan]], dtype=np.float32)
    file = encoded(Image.fromarray(values), "TIFF")
    assert common_ranges([check_image(file).values]) == {"float": (0.0, 10.0)}
    assert np.asarray(read_image(file))[0, :2, 0].tolist() == [0, 255]


def test_links_that_lead_nowhere_are_said_to(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.png").symlink_to("away.png")
    with pytest.raises(UnreadableImage, match="is a link that leads back to itself"):
        check_image(tmp_path / "loop.png")
    with pytest.raises(UnreadableImage, match=r"is a link to away\.png, which does not exist"):
        check_image(tmp_path / "gone.png")
