import pytest
import torch

from s2a_core import kernels
from s2a_core.errors import UnsupportedSite
from s2a_core.kernels.native.build import compiler_path
from s2a_core.operators import CURVES


@pytest.fixture(autouse=True)
def reference_afterwards() -> None:
    yield
    kernels.disable_native()


def test_an_unsupported_dtype_names_the_operator_and_what_to_do() -> None:
    table = kernels.fit_table(CURVES["gelu"], 2)
    with pytest.raises(UnsupportedSite, match="act_fwd: no kernel for float64, there is one for float32, bfloat16"):
        kernels.act_fwd(torch.randn(4, dtype=torch.float64), "gelu", table)
    with pytest.raises(UnsupportedSite, match="quantize_channels: no kernel for int32"):
        kernels.quantize_channels(torch.zeros(1, 2, 3, dtype=torch.int32), 4)


def test_an_unsupported_device_raises_before_anything_runs() -> None:
    with pytest.raises(UnsupportedSite, match="device 'meta'"):
        kernels.quantize_channels(torch.empty(1, 2, 3, device="meta"), 4)


def test_a_payload_of_another_size_is_refused() -> None:
    payload = kernels.quantize_channels(torch.randn(2, 3, 4), 4)
    with pytest.raises(ValueError, match=r"\(2, 3, 5\) at 4 bits is"):
        kernels.dequantize_channels(payload, (2, 3, 5), 4, torch.float32)


def test_what_runs_is_said() -> None:
    kernels.disable_native()
    assert kernels.backend_name() == "reference"
    assert kernels.native_failure() == "disabled"
    assert kernels.backend_name("cuda") == "triton"
    assert kernels.enable_native() == (compiler_path() is not None)
    if compiler_path() is None:
        assert "no C++ compiler" in kernels.native_failure()
    else:
        assert kernels.backend_name() == "native"
        assert kernels.native_failure() == ""


def test_a_failed_build_leaves_the_reference_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from s2a_core.kernels.native import library

    kernels.disable_native()
    monkeypatch.setattr(library, "load", lambda wait_s, retry: "no C++ compiler")
    assert not kernels.enable_native()
    assert kernels.backend_name() == "reference"
    assert kernels.native_failure() == "no C++ compiler"
    assert kernels.pack(torch.ones(8, dtype=torch.uint8), 1).tolist() == [255]


def test_compression_tries_the_native_kernels_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from s2a_core.kernels import backend
    from s2a_core.kernels.native import library

    calls = []
    monkeypatch.setattr(library, "load", lambda wait_s, retry: calls.append(retry) or "no C++ compiler")
    monkeypatch.setattr(backend._Native, "module", None)
    monkeypatch.setattr(backend._Native, "is_settled", False)
    assert not kernels.prefer_native()
    assert not kernels.prefer_native()
    assert calls == [False]
    kernels.disable_native()
    assert not kernels.prefer_native()


def test_every_public_name_loads() -> None:
    assert all(hasattr(kernels, name) for name in kernels.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kernels.nothing


def test_modes_do_not_see_what_kernels_do_inside() -> None:
    from torch.overrides import TorchFunctionMode

    class Counts(TorchFunctionMode):
        seen = 0

        def __torch_function__(
            self, func: object, types: object, args: tuple = (), kwargs: dict | None = None
        ) -> object:
            self.seen += 1
            return func(*args, **(kwargs or {}))

    x = torch.randn(2, 40, 8)
    with Counts() as counts:
        payload = kernels.quantize_channels(x, 4)
    assert counts.seen <= 3  # the dtype and the device of x
    assert torch.equal(payload, kernels.quantize_channels(x, 4))
