"""Names that data sets give to their parts, and class names that are none."""

import pytest

from s2a_core.datasets.split_names import look_alike, rank, split_role


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"),
        ("Training Images", "train"),
        ("seg_train", "train"),
        ("trainSet", "train"),
        ("train2017", "train"),
        ("asl_alphabet_test", "val"),
        ("val-images", "val"),
        ("ValidationData", "val"),
        ("seg_pred", "other"),
        ("fold_1", "other"),
        ("strain", None),
        ("testify", None),
        ("cats", None),
        ("2017", None),
    ],
)
def test_a_part_is_known_by_a_word_of_its_name(name: str, role: str | None) -> None:
    assert split_role(name) == role


def test_the_plain_word_and_validation_come_first() -> None:
    assert sorted(["my_test", "test", "valid_images", "val"], key=rank) == ["val", "valid_images", "test", "my_test"]


def test_parts_hold_the_same_directories() -> None:
    assert look_alike({"a": {"cat", "dog"}, "b": {"cat", "dog"}, "c": {"x", "y"}}) == ["a", "b"]
    assert look_alike({"a": {"1"}, "b": {"1"}}) == []
    assert look_alike({"a": {"cat", "dog"}, "b": {"car", "bus"}}) == []
