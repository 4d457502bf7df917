"""Merged weights are a plain model with the same outputs."""

import pytest
import torch

from s2a_core.adapters import AdapterSpec, add_adapters, merged_state_dict
from s2a_core.models import load_model
from tests.assertions import assert_close


@pytest.mark.parametrize("kinds", ["bias", "norm", "lora", "full"])
def test_a_plain_model_takes_the_merged_weights(kinds: str) -> None:
    model, x = load_model("s2a_tiny", num_classes=10), torch.randn(2, 3, 32, 32)
    add_adapters(model, AdapterSpec.parse(kinds))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    merged = merged_state_dict(model)
    assert merged is not None
    plain = load_model("s2a_tiny", "none", num_classes=10)
    plain.load_state_dict(merged)
    assert_close(plain(x), model.eval()(x), rel=1e-5)


def test_a_prompt_cannot_be_merged() -> None:
    assert merged_state_dict(add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("prompt",)))) is None
