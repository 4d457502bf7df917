"""Adapters leave the outputs as they were, train only what they say, and hold what they promise."""

import pytest
import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters, resolve, trained_state_dict
from s2a_core.compression import compress
from s2a_core.meter import held_bytes
from s2a_core.models import load_model
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close

FAMILIES = [
    ("vit_tiny_patch16_224", {"img_size": 64}, 64),
    ("swin_tiny_patch4_window7_224", {"img_size": 56, "window_size": 7}, 56),
    ("mobilenetv2_100", {}, 64),
    ("convnext_atto", {}, 64),
]


@pytest.mark.parametrize("kinds", ["head", "bias", "norm", "prompt", "bias,prompt,side", "lora", "full", "auto"])
def test_an_adapted_model_starts_equal_to_the_pretrained_one(kinds: str) -> None:
    model, x = load_model("s2a_tiny", num_classes=10), torch.randn(2, 3, 32, 32)
    before = model(x).detach()
    add_adapters(model, AdapterSpec.parse(kinds))
    assert_close(model.eval()(x).detach(), before, rel=1e-6)
    trained = trained_state_dict(model)
    assert {"head.weight", "head.bias"} <= set(trained)
    assert ("patch_embed.proj.weight" in trained) == (kinds == "full")


@pytest.mark.parametrize(("name", "options", "size"), FAMILIES)
@pytest.mark.parametrize("kinds", ["prompt", "side", "side-detached", "bias,norm,prompt,side", "auto"])
def test_every_family_starts_equal(name: str, options: dict[str, object], size: int, kinds: str) -> None:
    model, x = timm.create_model(name, num_classes=5, **options).eval(), torch.randn(2, 3, size, size)
    before = model(x).detach()
    add_adapters(model, AdapterSpec.parse(kinds), size)
    assert_close(model.eval()(x).detach(), before, rel=1e-6)


def test_lora_starts_equal_on_every_family() -> None:
    for name, options, size in FAMILIES:
        model, x = timm.create_model(name, num_classes=5, **options).eval(), torch.randn(2, 3, size, size)
        before = model(x).detach()
        assert_close(add_adapters(model, AdapterSpec(("lora",)), size)(x).detach(), before, rel=1e-6)


def test_auto_is_light_lora_on_tokens_and_scales_with_branches_on_maps() -> None:
    tokens = resolve(timm.create_model("vit_tiny_patch16_224"), AdapterSpec())
    assert str(tokens) == "lora-lite"
    network = timm.create_model("mobilenetv2_100", num_classes=5)
    maps = resolve(network, AdapterSpec())
    assert maps.kinds == ("bias", "norm", "side")
    assert resolve(network, AdapterSpec(("prompt",))).kinds == ("prompt",)
    add_adapters(network, AdapterSpec(), 64)
    assert network.s2a_adapter == maps
    assert all(p.requires_grad for name, p in network.named_parameters() if ".bn" in name)
    assert not any(p.requires_grad for name, p in network.named_parameters() if "conv" in name and "s2a_" not in name)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("mobilenetv2_100", 64, "full"),
        ("vgg11_bn", 64, "full"),
        ("mobilevit_xxs", 64, "bias,norm,prompt"),
        ("s2a_tiny", 32, "lora-lite"),
    ],
)
def test_auto_or_full_is_full_on_cnns_and_auto_elsewhere(name: str, size: int, expected: str) -> None:
    network = load_model(name, None, 5)
    add_adapters(network, AdapterSpec.parse("auto-or-full"), size)
    assert str(network.s2a_adapter) == expected
    assert all(p.requires_grad for p in network.parameters()) == (expected == "full")
    if expected != "full":
        assert network.s2a_adapter == resolve(load_model(name, None, 5), AdapterSpec(), size)


def test_auto_is_prompts_on_hybrids() -> None:
    spec = resolve(timm.create_model("mobilevit_xxs"), AdapterSpec())
    assert (spec.kinds, spec.rank) == (("bias", "norm", "prompt"), 4)


def test_light_lora_is_on_the_layers_that_widen_and_within_the_promised_share() -> None:
    model = timm.create_model("deit_tiny_patch16_224", num_classes=5)
    backbone = sum(p.numel() for p in model.parameters())
    add_adapters(model, AdapterSpec.parse("lora-lite"))
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad and "lora_" in name}
    assert {name.split(".lora_")[0].split(".", 2)[2] for name in trained} == {"attn.qkv", "mlp.fc1"}
    assert sum(trained.values()) <= 0.009 * backbone


def test_auto_has_branches_beside_blocks_that_are_plain_attributes() -> None:
    torch.manual_seed(0)
    network, x = timm.create_model("regnety_002", num_classes=5).eval(), torch.randn(2, 3, 64, 64)
    before = network(x).detach()
    adapted = add_adapters(network, AdapterSpec(), 64)
    assert str(adapted.s2a_adapter) == "bias,norm,side"
    assert_close(adapted(x).detach(), before, rel=1e-6)


@pytest.mark.parametrize("name", ["vgg11_bn", "densenet121"])
def test_auto_goes_without_branches_where_no_block_takes_one_tensor(name: str) -> None:
    network = add_adapters(timm.create_model(name, num_classes=5), AdapterSpec(), 64)
    assert str(network.s2a_adapter) == "bias,norm"
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_bias_trains_biases_and_the_head_only() -> None:
    model = add_adapters(load_model("s2a_tiny", num_classes=10), AdapterSpec(("bias",)))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(name.endswith("bias") or name.startswith("head") for name in names)


@pytest.mark.parametrize(("name", "options", "size"), FAMILIES)
@pytest.mark.parametrize("kinds", ["bias", "prompt", "bias,prompt"])
def test_bias_and_prompt_add_no_held_bytes(name: str, options: dict[str, object], size: int, kinds: str) -> None:
    """Against the same model whose gradient flows as deep but trains nothing on the way."""

    def held(spec: str) -> int:
        torch.manual_seed(0)
        model = add_adapters(timm.create_model(name, num_classes=5, **options), AdapterSpec.parse(spec), size).eval()
        x = torch.randn(2, 3, size, size)
        probe = nn.Parameter(torch.zeros(()))
        stem = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
        stem.register_forward_hook(lambda module, args, y: y + probe)  # saves nothing, asks for every gradient

        def forward() -> torch.Tensor:
            with compress(model, StoragePolicy(sites={}, default=Storage.EXACT)):
                return model(x)

        return held_bytes(model, forward, [x, probe])

    assert held(kinds) == held("head")
