"""A Ray cluster of several nodes on this machine, each with a declared device of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

NODE_MIB = 1024
TRIES = 5
# Ray reads these as it is imported, and once: they stay for the whole test process.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "6",  # seconds that a node of a busy machine may say nothing
    "RAY_health_check_initial_delay_ms": "5000",
}


@contextlib.contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """A cluster with token authentication: a head that offers nothing, and `nodes` workers w0, w1 ..."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    paths = [os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20},
    )
    for number in range(nodes):
        add_node(cluster, f"w{number}")
    cluster.wait_for_nodes(120)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def add_node(cluster: Any, name: str, **devices: int) -> Any:
    """A node with one device, `cpu`, of NODE_MIB, and with others, of so many MiB.

    On a busy machine Ray gives up on one after 30 s: so it has tries.
    """
    resources = {"s2a:cpu": NODE_MIB, f"s2a-worker:{name}": 1, **{f"s2a:{key}": size for key, size in devices.items()}}
    for tried in range(TRIES):
        try:
            return cluster.add_node(num_cpus=1, resources=resources, object_store_memory=80 * 2**20)
        except Exception:  # Ray raises nothing narrower
            if tried + 1 == TRIES:
                raise
    return None
