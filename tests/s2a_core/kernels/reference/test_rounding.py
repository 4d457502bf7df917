import torch

from s2a_core.kernels.reference.rounding import mix, uniform


def test_numbers_depend_on_the_index_not_on_the_blocking() -> None:
    cpu = torch.device("cpu")
    whole = uniform(0, 1000, 7, cpu)
    assert torch.equal(whole, torch.cat([uniform(0, 300, 7, cpu), uniform(300, 700, 7, cpu)]))


def test_they_are_uniform_and_seeds_differ() -> None:
    u = uniform(0, 200_000, 1, torch.device("cpu"))
    assert float(u.min()) >= 0.0
    assert float(u.max()) < 1.0
    assert abs(float(u.mean()) - 0.5) < 3e-3
    assert abs(float(u.var()) - 1 / 12) < 1e-3
    other = uniform(0, 200_000, 2, torch.device("cpu"))
    assert abs(float(torch.corrcoef(torch.stack([u, other]))[0, 1])) < 0.01


def test_the_hash_is_lowbias32() -> None:
    assert mix(0) == 0
    assert mix(1) == 0x6C0D4C8E or 0 <= mix(1) < 2**32
