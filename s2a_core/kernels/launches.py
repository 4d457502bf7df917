"""How many kernels of our own this process has launched on a device. Imports neither torch nor triton."""

from __future__ import annotations


class Launches:
    """The count, which only grows."""

    count = 0
