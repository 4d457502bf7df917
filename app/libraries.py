"""What libraries read from the environment as they load, set before they do, in commands and in the runners of jobs."""

from __future__ import annotations

from s2a_core.libraries import QUIET as QUIET
from s2a_core.libraries import quiet_libraries as quiet_libraries

# Jobs share processors. A thread that waits for another spins, by default for so long that it takes the processor from
# the thread it waits for: beside two trainings on two cores `s2a train s2a_tiny` made 1 to 15 images a second, with
# this 17. Alone it made 57 to 70 with this and 55 to 85 without, so commands leave the default.
SHARING = {"GOMP_SPINCOUNT": "3000"}
