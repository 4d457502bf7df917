"""An image is named by its path, or by a name that only one image has."""

from __future__ import annotations

from pathlib import Path

from s2a_core.datasets.named_images import NamedImages


def test_a_name_leads_to_one_image_or_to_a_reason(tmp_path: Path) -> None:
    for name in ("a/one.png", "a/two.png", "b/two.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    images = NamedImages.below(tmp_path)
    assert images.named("./a/one.png") == images.named("one") == images.named("one.png") == tmp_path / "a/one.png"
    assert images.named("b\\two.png") == tmp_path / "b/two.png"
    assert images.named("two.png") == "2 images have this name: give its path"
    assert images.named("three.png") == images.named("c/one.png") == "no such image"
    assert "leads out" in str(images.named("../a/one.png"))
    assert "leads out" in str(images.named("/a/one.png"))
