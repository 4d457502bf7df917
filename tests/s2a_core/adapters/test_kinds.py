"""An adapter is one file and one line: what names, trains, merges or offers adapters derives from its declaration."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import timm
import torch
import typer.main
from torch import nn

from app.cli.main import app as command_line
from app.main import create_app
from app.web.forms import ADAPTERS
from s2a_core.adapters import AdapterSpec, add_adapters, kinds, merged_state_dict
from s2a_core.adapters.head import head_parameters
from s2a_core.adapters.kind import Kind, Rates
from s2a_core.adapters.kinds import FILES, KINDS
from s2a_core.adapters.spec import adapter_words
from s2a_core.compression import compress, discover
from s2a_core.compression.discover import uniform_policy
from s2a_core.errors import InternalError
from s2a_core.models import load_model
from s2a_core.outputs.card import model_card
from s2a_core.train.recipe import learning_rates, make_optimizer
from tests.assertions import assert_close
from tests.s2a_core.compression.models import small_vit

EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def test_every_file_of_the_folder_is_registered() -> None:
    files = {path.stem for path in Path(kinds.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(FILES)


@EVERY
def test_every_adapter_has_its_rates(kind: Kind) -> None:
    assert (kind.rates is None) == (kind.name == "head"), "only the head trains nothing but the head"
    for model in (load_model("s2a_tiny", num_classes=3), load_model("test_resnet", "none", 3)):
        if kind.rates is not None:
            assert 0 < learning_rates(model, kind.name)[0] <= max(kind.rates.tokens, kind.rates.maps)


def test_a_declaration_without_rates_or_a_merge_rule_is_an_error() -> None:
    with pytest.raises(TypeError, match="rates"):
        Kind("vera", "vectors", attach=lambda backbone, options: None, no_merge="never")  # type: ignore[call-arg]
    with pytest.raises(InternalError, match="must either merge or say why"):
        Kind("vera", "vectors", Rates(1e-3, 1e-3), attach=lambda backbone, options: None)
    with pytest.raises(InternalError, match="must be positive"):
        Rates(1e-3, 0)


@EVERY
def test_the_command_line_the_api_and_the_form_offer_every_adapter(kind: Kind) -> None:
    commands = typer.main.get_command(command_line).commands  # type: ignore[attr-defined]
    for name in ("plan", "train", "profile", "submit"):
        option = next(p for p in commands[name].params if p.name == "adapter")
        assert kind.name in str(option.help).replace(",", " ").replace(".", " ").split(), name
    assert kind.name in ADAPTERS


def test_the_schema_of_the_api_names_every_adapter() -> None:
    schema = json.dumps(create_app().openapi())
    words = schema[schema.index("What is trained: ") :].split(" joined by")[0]
    assert set(KINDS) <= set(words.replace(",", " ").split())


@EVERY
def test_the_card_says_what_was_trained_and_what_an_export_is(kind: Kind) -> None:
    adapter = AdapterSpec((kind.name,)).to_json()
    card = model_card({"model": "s2a_tiny", "adapter": adapter}, {})
    assert f"`{adapter_words(adapter)}`" in card
    assert ("a checkpoint of plain timm" in card) == (kind.merge is not None)
    assert kind.no_merge in card


@EVERY
@pytest.mark.parametrize(("name", "size"), [("s2a_tiny", 32), ("convnext_atto", 64), ("mobilenetv2_100", 64)])
def test_a_plain_model_takes_what_merges_and_what_does_not_says_so(kind: Kind, name: str, size: int) -> None:
    torch.manual_seed(0)
    model, x = load_model(name, None, 5).eval(), torch.randn(2, 3, size, size)
    before = model(x).detach()
    add_adapters(model, AdapterSpec((kind.name,)), size).eval()
    assert_close(model(x).detach(), before, rel=1e-5)
    make_optimizer(model, kind.name, None, 0.05)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.02 * torch.randn_like(parameter))
    changed = model(x).detach()
    assert not torch.allclose(changed, before)
    merged = merged_state_dict(model)
    assert (merged is None) == (kind.merge is None)
    if merged is not None:
        plain = timm.create_model(name, num_classes=5) if name != "s2a_tiny" else load_model(name, "none", 5)
        plain.load_state_dict(merged)
        assert_close(plain.eval()(x), changed, rel=1e-4)


@EVERY
def test_every_trained_parameter_gets_a_gradient(kind: Kind) -> None:
    model: nn.Module = load_model("s2a_tiny", num_classes=5)
    add_adapters(model, AdapterSpec((kind.name,)))(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@EVERY
@pytest.mark.parametrize("family", ["vit", "convnext_atto"])
def test_compressed_gradients_point_where_exact_ones_do(kind: Kind, family: str) -> None:
    """At 8 bits with regions and in chunks, beside the head: the head's own gradient would hide the others."""
    torch.manual_seed(0)
    model = small_vit() if family == "vit" else timm.create_model(family, num_classes=5)
    model, x = add_adapters(model, AdapterSpec((kind.name,)), 64).eval(), torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.02 * torch.randn_like(parameter))
    head = head_parameters(model)
    trained = [
        p for name, p in model.named_parameters() if p.requires_grad and (kind.rates is None or name not in head)
    ]

    def gradient(output: torch.Tensor) -> torch.Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(output.square().mean(), trained)])

    expected = gradient(model(x))
    with compress(
        model, uniform_policy(discover(model, x), 8, recompute=True, chunk_samples=2), ledger=True
    ) as session:
        coded = model(x)
    assert torch.nn.functional.cosine_similarity(gradient(coded), expected, dim=0) >= 0.9999
    if family == "vit" and kind.rates is not None and kind.name not in ("full", "side-detached"):
        assert {"blocks.1.attn:region", "blocks.1.mlp:region"} <= set(session.ledger.bytes_by_site())


def test_a_kind_that_is_registered_is_a_word_of_the_adapter_option(monkeypatch: pytest.MonkeyPatch) -> None:
    vera = dataclasses.replace(KINDS["bias"], name="vera", rates=Rates(1e-3, 2e-3))
    monkeypatch.setitem(KINDS, "vera", vera)
    assert AdapterSpec.parse("vera").declarations == (vera,)
    assert learning_rates(load_model("s2a_tiny"), "vera")[0] == 1e-3
