"""The session behind `compress`: what a plan means for a model, bound once, in place while the session is open."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from s2a_core.compression.frozen import needs_matching, prepare_frozen_weights
from s2a_core.compression.functions import FunctionsSeeValues
from s2a_core.compression.intercept import Interceptor
from s2a_core.compression.ledger import Ledger, LedgerBook
from s2a_core.compression.modules import BoundModules
from s2a_core.compression.record import Recorder
from s2a_core.compression.regions import BLOCK, REGION, Region
from s2a_core.compression.replay import WidthMode
from s2a_core.compression.saved import SavedTensors
from s2a_core.errors import InvalidInput
from s2a_core.kernels import prefer_native
from s2a_core.operators import OPERATORS, fit_tables
from s2a_core.storage import WHOLE, Storage, StoragePolicy, whole_of


class Session:
    """One `with compress(model, plan)`: forward inside it, backward anywhere. It may stay open, or be entered again.

    ledger: whether `ledger` is kept; recorders: what else watches; defers_norms: None lets the policy decide.
    """

    def __init__(
        self,
        model: nn.Module,
        policy: StoragePolicy,
        *,
        ledger: bool = False,
        recorders: Sequence[Recorder] = (),
        defers_norms: bool | None = None,
    ) -> None:
        self.model, self._book = model, LedgerBook() if ledger else None
        recorders = (*recorders, *([self._book] if self._book else []))
        changes = _changes_something(policy)
        defers = changes if defers_norms is None else defers_norms
        self.interceptor = Interceptor(policy, recorders, defers, changes)
        self._saved = SavedTensors(self.interceptor, model) if recorders or _codes_by_hook(policy) else None
        self._modules = None
        if changes or recorders:
            self._modules = BoundModules(model, self.interceptor, _regions(model, policy), self._forward_pass)
        self._widths = WidthMode() if self._modules is None and needs_matching(model) else None
        self._stack = ExitStack()
        self._is_running = False  # inside a forward pass of the model
        self._thread = 0  # that entered

    @contextmanager
    def _forward_pass(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
        """The model runs, with these inputs."""
        seen, modules = self.interceptor, self._modules
        assert modules is not None  # whose forward this is around
        inputs = (*args, *kwargs.values())
        if threading.get_ident() != self._thread:
            raise InvalidInput("compress() was entered in another thread than the model runs in: enter it in this one")
        if self._is_running:  # the model calls itself
            seen.count_from_start(inputs)
            yield
            return
        self._is_running = True
        with torch._C.DisableTorchFunction():  # what is asked of the inputs is no call of the model's
            seen.begin(inputs, tuple(kwargs), self.model.training)
            if self._saved is not None:
                self._saved.begin(inputs)
        watched, was_on = seen.watched, seen.is_on
        if watched is not None:
            modules.leave_only(watched)
            seen.switch("" in watched.paths)
        try:
            yield
            seen.finish()
        finally:
            self._is_running = False
            if watched is not None:
                seen.switch(was_on)
                seen.watched = None
                modules.complete(watched)
            if self._saved is not None:
                self._saved.end()  # backward may run while the session stays open: codes go as it reads them

    def __enter__(self) -> Session:
        self._thread = threading.get_ident()
        enter = self._stack.enter_context
        if self._widths is not None:
            enter(self._widths)
        if self._modules is not None:
            self._modules.install()
            self._stack.callback(self._modules.remove)
            if self.interceptor.defers_norms:
                enter(FunctionsSeeValues())
            if self._saved is not None:
                self._stack.callback(self._saved.end)
                enter(self._saved.hooks)
                self.interceptor.hooks = self._saved.hooks
            self._stack.callback(self.interceptor.end)
            enter(self.interceptor)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    @property
    def ledger(self) -> Ledger:
        """What has been kept since the session began. Raises InvalidInput unless it was asked for."""
        if self._book is None:
            raise InvalidInput("this session keeps no ledger: ask for one with compress(model, plan, ledger=True)")
        return Ledger.of(self._book.entries, self.model)


def _regions(model: nn.Module, policy: StoragePolicy) -> dict[str, Region]:
    """Module name -> the region or block that the policy makes of it."""
    regions: dict[str, Region] = {}
    for site, storage in policy.sites.items():
        if not whole_of(site) or not storage.bits:
            continue
        name, is_block = site.removesuffix(REGION).removesuffix(BLOCK), site.endswith(BLOCK)
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            message = f"the plan rebuilds {name!r}, which {type(model).__name__} has not: plan again"
            raise InvalidInput(message) from error
        if is_block or name not in regions:
            regions[name] = Region(module, name, storage, is_block)
    return regions


def _changes_something(policy: StoragePolicy) -> bool:
    """Whether anything is stored otherwise than stock does.

    A plan that leaves its regions out counts: its norms are deferred as they were when the sites were measured.
    """
    return any(storage is not Storage.EXACT for storage in (policy.default, *policy.sites.values()))


def _codes_by_hook(policy: StoragePolicy) -> bool:
    """Whether something is coded as autograd saves it, rather than by an operator of ours."""
    coded = [site.rpartition(":")[2].partition("#")[0] for site, storage in policy.sites.items() if storage.bits]
    return policy.default.bits is not None or any(
        op not in WHOLE and (op not in OPERATORS or not OPERATORS[op].packs) for op in coded
    )


def require_visible_calls(model: nn.Module) -> None:
    """Raises InvalidInput where torch.compile or torch.jit hides what a module calls, and so what it keeps."""
    for name, module in model.named_modules():
        compiler = "torch.compile" if hasattr(module, "_orig_mod") else "torch.jit"
        if compiler == "torch.compile" or isinstance(module, torch.jit.ScriptModule):
            place = f"its module {name}" if name else "the model"
            raise InvalidInput(
                f"s2a cannot see inside a model wrapped by {compiler}: {place} is; pass the model itself, uncompiled "
                "(what torch.compile wrapped is its _orig_mod)"
            )


def compress(model: nn.Module, plan: Any, *, ledger: bool = False, recorders: Sequence[Recorder] = ()) -> Session:
    """A context in which `model` keeps for backward what `plan` says. plan: a Plan or a StoragePolicy.

    The first entry with a plan that narrows frozen weights applies that in place. Backward may run outside. The context
    may stay open over steps or be entered again: what the plan means for the model is resolved here, once.
    ledger: keep a list of what is kept, at some cost in every call; recorders: further listeners.
    Raises InvalidInput for a model with compiled or scripted modules.
    """
    policy = plan if isinstance(plan, StoragePolicy) else plan.policy
    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    require_visible_calls(inner)
    prepare_frozen_weights(inner, policy.frozen_weights, policy.weight_format, policy.wide_weights)
    device = next((p.device for p in inner.parameters()), torch.device("cpu"))
    prefer_native(device.type)
    fit_tables(policy, device)
    return Session(inner, policy, ledger=ledger, recorders=recorders)
