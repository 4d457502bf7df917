import torch

from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.dropout import dropout_bwd, dropout_fwd


def test_backward_drops_what_forward_dropped() -> None:
    x = torch.ones(101, 7)
    y, bits = dropout_fwd(x, 0.3)
    assert bits.numel() == packed_bytes(707, 1)
    assert torch.equal(dropout_bwd(torch.ones(101, 7), bits, 0.3), y)
    assert 0.6 < float((y > 0).float().mean()) < 0.8


def test_the_limits_keep_all_or_nothing() -> None:
    x = torch.randn(5)
    assert torch.equal(dropout_fwd(x, 0.0)[0], x)
    assert torch.equal(dropout_fwd(x, 1.0)[0], torch.zeros(5))
