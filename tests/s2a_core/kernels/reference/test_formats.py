import torch

from s2a_core.kernels.reference.formats import back_in_place, in_memory_order, in_payload_order, mark


def test_channels_last_is_coded_without_a_copy_and_found_again() -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    source = in_memory_order(x)
    assert source.data_ptr() == x.data_ptr()
    assert source.is_contiguous()
    payload = mark(torch.zeros(15, dtype=torch.uint8), x)
    assert payload.shape == (15, 1)
    dy = torch.randn(2, 3, 4, 5)  # in the other order
    assert torch.equal(back_in_place(in_payload_order(dy, payload), payload), dy)


def test_other_tensors_are_coded_as_contiguous_ones() -> None:
    x = torch.randn(3, 4).t()
    assert in_memory_order(x).is_contiguous()
    payload = mark(torch.zeros(2, dtype=torch.uint8), x)
    assert payload.shape == (2,)
    assert torch.equal(back_in_place(in_payload_order(x, payload), payload), x)
