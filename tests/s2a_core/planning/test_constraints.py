"""Rules between variables: a tensor that the model keeps is counted once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from s2a_core.planning.constraints import Constraints
from s2a_core.planning.peak import FORWARD, Peak
from s2a_core.profiling.live import LiveTensor
from s2a_core.profiling.types import SharedStorage
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, site

NAMES = ("a:gelu", "b:gelu", "c:gelu")
EXACT, CODED = Storage.EXACT, Storage.B4


def work_at_last(*storages: Storage) -> int:
    """Of the forward turn of the third site; a tensor of the first one, of 700 bytes, is alive in it."""
    live = (LiveTensor(NAMES[:1], NAMES[2], 700, 0),)
    profile = profile_of(tuple(site(name, 5000, 1.0) for name in NAMES), live=live)
    peak, sites = Peak(profile, 1), dict(zip(NAMES, storages, strict=True))
    program = Constraints(peak)
    chosen = np.array([float(sites[program.sites[i].name] is o.storage) for i, o in program.columns])
    (point,) = [p for p in peak.course(sites) if (p.phase, p.site) == (FORWARD, NAMES[2])]
    assert program.turns(program.completed(chosen))[0, 2] == point.moving
    return point.work


@pytest.mark.parametrize(("first", "live"), [(EXACT, 0), (CODED, 700)])
def test_an_exact_turn_has_a_living_tensor_unless_an_exact_site_holds_it(first: Storage, live: int) -> None:
    assert work_at_last(first, CODED, EXACT) == 3000 + live
    assert work_at_last(first, CODED, CODED) == 3500


def test_a_shared_tensor_is_held_from_its_first_exact_site_on() -> None:
    made = profile_of(tuple(site(name, 5000, 1.0) for name in NAMES))
    program = Constraints(Peak(replace(made, shared=(SharedStorage(NAMES[:2], 100, 0),)), 1))
    one, both = (
        np.array([float(o.storage is (EXACT if i < exact else CODED)) for i, o in program.columns]) for exact in (1, 2)
    )
    alone = Constraints(Peak(made, 1))
    for chosen in (one, both):
        more = program.turns(program.completed(chosen))[0] - alone.turns(alone.completed(chosen))[0]
        assert more.tolist() == [100, 100, 100]
