"""What cannot be packed is refused before anything runs."""

from __future__ import annotations

import pytest
import torch

from s2a_core.errors import UnsupportedSite
from s2a_core.operators.call import check_packable


def test_an_unsupported_dtype_or_device_names_the_site() -> None:
    with pytest.raises(UnsupportedSite, match=r"blocks\.0:gelu has dtype float64"):
        check_packable("blocks.0:gelu", torch.zeros(2, dtype=torch.float64))
    with pytest.raises(UnsupportedSite, match=r"blocks\.0:gelu is on meta"):
        check_packable("blocks.0:gelu", torch.zeros(2, device="meta"))
