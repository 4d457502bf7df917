"""Adapters leave the outputs as they were and train only what they say."""

import pytest
import torch

from s2a_core.adapters import AdapterSpec, add_adapters, trained_state_dict
from s2a_core.models import load_model
from tests.assertions import assert_close


@pytest.mark.parametrize("kinds", ["head", "bias", "norm", "prompt", "bias,prompt", "lora", "full", "auto"])
def test_an_adapted_model_starts_equal_to_the_pretrained_one(kinds: str) -> None:
    model, x = load_model("s2a_tiny", num_classes=10), torch.randn(2, 3, 32, 32)
    before = model(x).detach()
    add_adapters(model, AdapterSpec.parse(kinds))
    assert_close(model.eval()(x).detach(), before, rel=1e-6)
    trained = trained_state_dict(model)
    assert {"head.weight", "head.bias"} <= set(trained)
    assert ("patch_embed.proj.weight" in trained) == (kinds == "full")


def test_bias_trains_biases_and_the_head_only() -> None:
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias",)))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(name.endswith("bias") or name.startswith("head") for name in names)
