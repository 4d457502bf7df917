import torch
from torch.nn import functional

from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.dropout import dropout_bwd, dropout_fwd
from tests.assertions import assert_close


def test_backward_drops_what_forward_dropped() -> None:
    x = torch.ones(101, 7)
    y, bits = dropout_fwd(x, 0.3)
    assert bits.numel() == packed_bytes(707, 1)
    assert torch.equal(dropout_bwd(torch.ones(101, 7), bits, 0.3), y)
    assert 0.6 < float((y > 0).float().mean()) < 0.8


def test_the_mask_is_stocks_in_either_memory_format() -> None:
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 6, 5, 4).to(memory_format=memory_format)
        torch.manual_seed(3)
        expected = functional.dropout(x, 0.4)
        torch.manual_seed(3)
        y, bits = dropout_fwd(x, 0.4)
        assert_close(y, expected, rel=1e-6)
        assert torch.equal(dropout_bwd(torch.ones_like(x), bits, 0.4) > 0, y != 0)


def test_the_limits_keep_all_or_nothing() -> None:
    x = torch.randn(5)
    assert torch.equal(dropout_fwd(x, 0.0)[0], x)
    assert torch.equal(dropout_fwd(x, 1.0)[0], torch.zeros(5))
