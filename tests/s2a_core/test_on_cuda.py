"""Whole runs on devices without silicon stay inside their budget at every moment, on the device that was named."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.fakegpu.double import FakeDevices, Outcome
from tests.s2a_core.tasks.shapes import segmentation

pytestmark = [pytest.mark.fakegpu, pytest.mark.slow, pytest.mark.timeout(900)]
MIB = 2**20
Devices = Callable[..., FakeDevices]

TRAINS = """
import json, sys
from pathlib import Path
from s2a_core import pipeline
data, output, device, budget = sys.argv[1:]
request = pipeline.RunRequest(
    "s2a_tiny", data=data, output=Path(output), device=device, budget_bytes=int(budget), adapter="bias", epochs=1,
    batch_size=8,
)
print(json.dumps(pipeline.run(request)["within_budget"]))
"""

MIXED = """
import json, sys
from pathlib import Path
from s2a_core import pipeline
from s2a_core.planner import Planner
from s2a_core.profiling.measure import profile
profile.__kwdefaults__["sensitivity_s"] = 0  # gradients are zero here: nominal errors
data, output, cache, budget = sys.argv[1:]
request = pipeline.RunRequest(
    "vit_base_patch16_224", data=data, output=Path(output), weights="none", device="cuda", budget_bytes=int(budget),
    adapter="bias", epochs=1, batch_size=8, profile_cache=Path(cache),
)
if request.budget_bytes == 8 << 30:
    planner = Planner(request)
    print(json.dumps([planner._smallest_of(planner.profile(one)) for one in planner.candidates[-2:]]))
else:
    print(json.dumps(pipeline.run(request)))
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for number, name in enumerate(("dark", "light")):
            place = tmp_path / "images" / split / name
            place.mkdir(parents=True)
            for index in range(4):
                Image.new("RGB", (32, 32), (60 + 120 * number, 20 * index, 90)).save(place / f"{index}.png")
    return tmp_path / "images"


def test_a_command_on_the_second_device_stays_inside_its_budget_and_holds_nothing_of_the_first(
    fake_devices: Devices, images: Path, tmp_path: Path
) -> None:
    budget_bytes = 520 * MIB
    devices = fake_devices(num_devices=2, context_mib=426)
    command = [sys.executable, "-c", "from app.cli.main import app; app()", "train", "s2a_tiny", "--device", "cuda:1"]
    command += ["--data", str(images), "--budget", f"{budget_bytes}", "--output", str(tmp_path / "out")]
    command += ["--adapter", "bias"]
    command += ["--epochs", "1", "--batch-size", "8", "--json"]
    outcome = devices.run(command, env={"HOME": str(tmp_path)})
    assert outcome.returncode == 0, outcome.stderr
    predicted = json.loads((tmp_path / "out" / "plan.json").read_text())["predicted"]
    assert [use.device for use in outcome.uses] == [1]
    held = outcome.use.peak_bytes
    assert outcome.document["within_budget"]
    assert held <= outcome.document["measured_peak_bytes"] <= budget_bytes
    assert held <= predicted["peak_bytes"] <= 1.03 * held
    assert sum(predicted["breakdown"].values()) == predicted["peak_bytes"]
    assert predicted["breakdown"]["context"] >= 426 * MIB


def test_segmentation_trains_inside_its_budget(fake_devices: Devices, tmp_path: Path) -> None:
    budget_bytes = 540 * MIB
    data = segmentation(tmp_path / "data", 16, 64)
    outcome = fake_devices(context_mib=426).python(TRAINS, data, tmp_path / "out", "cuda", str(budget_bytes))
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.document is True
    predicted = json.loads((tmp_path / "out" / "plan.json").read_text())["predicted"]
    assert outcome.use.peak_bytes <= predicted["peak_bytes"] <= budget_bytes


def test_weights_some_of_which_stay_numbers_are_held_as_promised(
    fake_devices: Devices, images: Path, tmp_path: Path
) -> None:
    def outcome_of(budget_bytes: int) -> Outcome:
        devices = fake_devices(device_mib=8192, context_mib=426)
        return devices.python(MIXED, images, tmp_path / "out", tmp_path / "profiles", str(budget_bytes))

    numbers, codes = outcome_of(8 << 30).document
    assert codes < numbers
    outcome = outcome_of(codes + (numbers - codes) // 5)
    assert outcome.returncode == 0, outcome.stderr
    report, plan = outcome.document, json.loads((tmp_path / "out" / "plan.json").read_text())
    assert report["weight_format"] == "int8"
    assert 0 < len(report["wide_weights"]) < 49
    assert outcome.use.peak_bytes <= plan["predicted"]["peak_bytes"] <= plan["budget_bytes"]


def test_a_run_below_the_context_is_refused_before_anything_is_loaded(
    fake_devices: Devices, images: Path, tmp_path: Path
) -> None:
    devices = fake_devices(context_mib=616)
    outcome = devices.python(TRAINS, images, tmp_path / "out", "cuda", str(600 * MIB))
    assert "InfeasibleBudget: nothing fits 600 MiB" in outcome.stderr
    assert "the largest part is the CUDA context (616 MiB)" in outcome.stderr
