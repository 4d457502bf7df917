"""`python -m tests.fakegpu [--device-mib M] [--context-mib C] ... -- COMMAND...`: what it held, on stderr."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from tests.fakegpu.build import missing
from tests.fakegpu.double import FakeDevices


def main() -> int:
    """Run the command on fake devices; a JSON line for each process that came to one."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakegpu")
    numbers = ("num_devices", "device_mib", "context_mib", "kernel_kib", "library_mib", "cudnn_workspace_mib")
    for name in (*numbers, "capability"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, dest=name)
    parser.add_argument("--no-nvml-processes", action="store_false", dest="has_nvml_processes")
    parser.add_argument("--kernel-names", action="store_true", dest="has_kernel_names")
    parser.add_argument("--directory", type=Path, help="of devices that several commands share")
    parser.add_argument("command", nargs="+")
    options = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    command = options.pop("command")
    if reason := missing():
        parser.error(reason)
    devices = FakeDevices(**options)
    with devices.start(command) as process:
        process.wait()
    for use in devices.uses():
        sys.stderr.write(json.dumps(dataclasses.asdict(use)) + "\n")
    return int(process.returncode)


if __name__ == "__main__":
    raise SystemExit(main())
