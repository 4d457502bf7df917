"""Steps of the benchmark's seven models on a device without silicon: the host waits for nothing inside a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.host import BEGIN, END, SHOWN, document, fill, section
from tests.fakegpu.double import FakeDevices

Devices = Callable[..., FakeDevices]

FAMILIES = {
    "vit_base_patch16_224": {"img_size": 64},
    "deit_tiny_patch16_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 4},
    "convnext_tiny": {},
    "resnet50": {},
    "mobilenetv2_100": {},
    "efficientnet_b0": {},
}
STEPS = """
import copy, json, sys
import timm, torch
from benchmarks.contestants import Runner, bias
from benchmarks.host import counters, step_of, under
from benchmarks.ours import policy
from s2a_core.storage import Storage, StoragePolicy, whole_of

def counted(step):
    before = counters()
    step()
    return {name: value - before[name] for name, value in counters().items()}

counts = {}
for name, options in json.loads(sys.argv[1]).items():
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, **options)
    example = torch.randn(2, 3, 64, 64)
    x = torch.randn(4, 3, 64, 64, device="cuda")
    y = torch.zeros(4, dtype=torch.long, device="cuda")
    stock = bias(copy.deepcopy(model), example)
    for whole in ("exact", "codes", "region", "block"):
        sites = policy(stock.model, example.to(torch.bfloat16), 4, "codes" if whole == "exact" else whole).sites
        if whole == "exact":
            sites = {site: storage for site, storage in sites.items() if whole_of(site)}
        chosen = StoragePolicy(sites, Storage.EXACT, chunk_samples=2, frozen_weights="bf16")
        step = step_of(under(bias(copy.deepcopy(model), example).model.to("cuda"), chosen), x, y)
        step()  # compiles, and brings tables to the device
        counts[f"{name} {whole}"] = counted(step)
counts["a step that waits"] = counted(lambda: torch.ones(3, device="cuda").sum().item())
print(json.dumps(counts))
"""


@pytest.mark.fakegpu
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_step_of_each_family_neither_synchronises_nor_copies_to_or_from_the_host(fake_devices: Devices) -> None:
    outcome = fake_devices().python(STEPS, json.dumps(FAMILIES), timeout_s=840)
    assert outcome.returncode == 0, outcome.stderr
    counts = outcome.document
    assert counts.pop("a step that waits")["to_host"] == 1
    assert len(counts) == 4 * len(FAMILIES)
    for label, count in counts.items():
        assert count.pop("launches") > 100, label
        assert count == {"syncs": 0, "to_host": 0, "to_device": 0}, label


def test_the_tables_have_every_step_with_its_ratios(tmp_path: Path) -> None:
    rows = [
        {
            "model": "m",
            "batch": 8,
            "step": step,
            "cpu_ms": 10.0,
            "times_stock": 1.0 + i,
            "launches": 100 * i,
            "syncs": 0,
        }
        for i, step in enumerate(SHOWN)
    ]
    rows[-1] |= {"budget_mib": 640, "micro_batch": 4, "chunk": 2}
    page = document(rows, "a device without silicon")
    assert "| m | 8 | smallest plan (640: 4, 2) | 10.0 |" in page
    assert "| m | 8 | exact | 10.0 | 3.0 | 1.50 | 200 | 0 | 0 |" in page
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}earlier table\n{END}after\n")
    fill(readme, section(rows, "a device without silicon"))
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}CPU time")
    assert "on a device without silicon" in text
    assert "| m, 8 | 1.00 (0) | 2.00 (100) | 3.00 (200) | 4.00 (300) | 5.00 (400) | 6.00 (500) |" in text
    assert text.endswith(f"{END}after\n")
    assert "earlier table" not in text
    with pytest.raises(ValueError, match="host:begin"):
        fill(Path(__file__).with_name("conftest.py"), "")
