"""`python -m app.runner`: run one attempt of a job and report over HTTP; its token comes on standard input."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.runner.documents import PRIVATE
from app.runner.link import RETRY_S, Link, Refused
from app.runner.parent import end_with_parent
from app.runner.spool import Spool, spool_path
from app.runner.work import run
from s2a_core.train.types import PauseTraining

STALE_EXIT, STOPPED_EXIT = 3, 143
Work = Callable[[Link, Path], tuple[str, dict[str, Any] | None, dict[str, Any] | None, dict[str, Any] | None]]


def leave(spool: Spool, code: int) -> None:
    """End this process at once, from any thread; what was said is on disk."""
    spool.sync()
    os._exit(code)


def stop(link: Link) -> None:
    """TERM: at the next step, with a checkpoint, when it trains; at once when no step comes, or it is asked again."""
    if not link.is_training or link.is_stopping or link.is_fenced:
        leave(link.spool, STOPPED_EXIT)
    link.is_stopping = True


def beat(link: Link, every_s: float, is_over: threading.Event) -> None:
    """Heartbeats in a thread of their own, so that a loop that is stuck is seen to be alive and to do nothing."""
    while not is_over.wait(min(every_s, RETRY_S) if link.silent_s > 2 * every_s else every_s):
        try:
            if link.heartbeat():
                leave(link.spool, 0)
        except Refused:
            leave(link.spool, STALE_EXIT)
        except Exception as error:  # the thread's boundary: a heartbeat that was not understood is tried again
            sys.stderr.write(f"heartbeat: {error}\n")


def deliver(link: Link, is_over: threading.Event) -> None:
    """Send what the spool holds, again and again."""
    while not is_over.wait(RETRY_S):
        try:
            link.flush()
        except Refused:
            leave(link.spool, STALE_EXIT)
        except Exception as error:  # the thread's boundary: the spool keeps what was not sent
            sys.stderr.write(f"events: {error}\n")


def main(argv: list[str] | None = None, work: Work = run) -> int:
    """0 when the job's end was told to the service, also when it failed; 3 when the service refused this attempt."""
    parser = argparse.ArgumentParser(prog="python -m app.runner", description=__doc__)
    parser.add_argument("--attempt", required=True)
    parser.add_argument("--epoch", required=True, type=int)
    parser.add_argument("--url", required=True)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--end-with-parent", action="store_true")
    args = parser.parse_args(argv)
    if args.end_with_parent:
        end_with_parent()
    os.umask(PRIVATE)
    spool = Spool(spool_path(args.output, args.epoch))
    link = Link(args.url, args.attempt, sys.stdin.readline().strip(), spool, args.epoch)
    signal.signal(signal.SIGTERM, lambda *_: stop(link))
    is_over = threading.Event()
    try:
        every_s = float(link.request().get("renew_s", 10.0))
        threading.Thread(target=beat, args=(link, every_s, is_over), daemon=True).start()
        threading.Thread(target=deliver, args=(link, is_over), daemon=True).start()
        status, reason, report, verdict = work(link, args.output)
        link.finish(status, reason, report, verdict)
        is_over.set()
    except Refused as why:
        sys.stderr.write(f"{why}\n")
        leave(spool, STALE_EXIT)
    except PauseTraining:
        leave(spool, STOPPED_EXIT)
    except TimeoutError as why:
        sys.stderr.write(f"{why}\n")
        leave(spool, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
