"""One row per epoch, known columns first."""

from s2a_core.outputs.metrics import metrics_csv


def test_columns_come_in_order() -> None:
    text = metrics_csv([{"x": 1, "epoch": 1}, {"epoch": 2, "val_loss": 0.5}])
    assert text.splitlines() == ["epoch,val_loss,x", "1,,1", "2,0.5,"]
