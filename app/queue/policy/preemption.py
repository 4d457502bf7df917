"""Which live jobs of lower classes to stop for a job that waits at the head: the cheapest set on one device."""

from __future__ import annotations

from app.queue.policy.facts import Live, Preempt, Rules, Waiting
from app.queue.policy.packing import Packing


def victims(job: Waiting, packing: Packing, rules: Rules) -> tuple[Preempt, ...]:
    """The jobs to stop for `job`; none when it may stop nobody, nobody's memory helps, or memory is on its way.

    Only jobs of a class below the one it was submitted with are stopped, the lowest class and the latest start first;
    the device where that loses the fewest byte-seconds of work is taken.
    """
    if packing.now - job.created_at < rules.preempt_after_s:
        return ()
    best: tuple[float, str, list[Live]] | None = None
    for device_id, free in packing.free.items():
        device = packing.devices[device_id]
        need = job.need_on(device)
        if not packing.could_hold_on(job, device_id):
            continue
        free += sum(live.num_bytes for live in packing.lives[device_id] if live.is_stopping)
        if free >= need:
            return ()
        chosen = _cheapest(packing.lives[device_id], need - free, job.priority, packing.now, rules)
        if chosen is not None:
            lost = sum(live.num_bytes * (packing.now - live.started_at) for live in chosen)
            if best is None or (lost, device_id) < best[:2]:
                best = (lost, device_id, chosen)
    if best is None:
        return ()
    return tuple(Preempt(live.job_id, best[1], job.job_id) for live in best[2])


def _cheapest(lives: list[Live], missing: int, priority: int, now: float, rules: Rules) -> list[Live] | None:
    allowed = [
        live
        for live in lives
        if live.priority < priority
        and live.is_preemptible
        and not live.is_stopping
        and now - live.started_at >= rules.min_run_s
    ]
    allowed.sort(key=lambda live: (live.priority, -live.started_at, live.job_id))
    chosen: list[Live] = []
    for live in allowed:
        if missing <= 0:
            break
        chosen.append(live)
        missing -= live.num_bytes
    if missing > 0:
        return None
    for live in sorted(chosen, key=lambda live: -live.priority):  # a later, larger one may have made it needless
        if missing + live.num_bytes <= 0:
            chosen.remove(live)
            missing += live.num_bytes
    return chosen
