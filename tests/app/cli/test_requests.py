"""Options become a request; wrong ones are refused first."""

import pytest

from app.cli.requests import check_device, run_request
from s2a_core.errors import InvalidInput


def test_options_become_a_request() -> None:
    request = run_request(model="s2a_tiny", budget="1GiB", epochs=None)
    assert (request.budget_bytes, request.epochs) == (2**30, 5)
    with pytest.raises(InvalidInput, match="cpu or cuda"):
        run_request(model="m", device="tpu")


@pytest.mark.parametrize("name", ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "cpu cuda"])
def test_only_a_cpu_and_gpus_are_devices(name: str) -> None:
    check_device("cuda:1")
    with pytest.raises(InvalidInput, match="cpu or cuda"):
        check_device(name)
