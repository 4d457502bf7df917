"""The session behind `compress`: sees every torch call and every tensor autograd keeps, and applies the policy.

Three hooks, no model surgery: a TorchFunctionMode routes calls to our operators, saved-tensor hooks code what no
operator handles, module hooks give each call the name of its site. A table look-up per torch call and two list
operations per module call is all an operator without a storage of its own pays.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from s2a_core.compression.frozen import prepare_frozen_weights
from s2a_core.compression.functions import functions_see_values
from s2a_core.compression.ledger import Ledger, LedgerBook
from s2a_core.compression.pending import PendingNorm, evaluated, is_metadata, moves_tokens_only, value_of
from s2a_core.compression.regions import run_region
from s2a_core.compression.routes import ROUTES, run_norm
from s2a_core.compression.sites import MIN_CODED_ELEMENTS, ROUNDABLE, Site, SiteSpec, op_name, options_of, seed_of
from s2a_core.compression.watch import Watched, Watcher
from s2a_core.compression.writes import may_write
from s2a_core.errors import InvalidInput
from s2a_core.kernels import DerivativeTable, Histogram, fit_table, known_table, prefer_native
from s2a_core.ops.packed import PackedShape, decode, encode, layout_of
from s2a_core.storage import Storage, StoragePolicy

REGION = ":region"
BLOCK = ":block"


class Session(TorchFunctionMode):
    """One `with compress(model, plan)`: forward inside it, backward anywhere. `ledger` says what was kept."""

    def __init__(self, model: nn.Module, policy: StoragePolicy) -> None:
        super().__init__()
        self.model, self.policy = model, policy
        self.names = {module: name for name, module in model.named_modules()}
        self.regions = {s.removesuffix(REGION): st for s, st in policy.sites.items() if s.endswith(REGION) and st.bits}
        self.blocks = {s.removesuffix(BLOCK): st for s, st in policy.sites.items() if s.endswith(BLOCK) and st.bits}
        self.defers_norms = bool(self.regions) or any(
            storage is not Storage.EXACT for storage in (*policy.sites.values(), policy.default)
        )
        self.batch = 0
        self.paused = 0  # above 0 inside a region, where nothing is intercepted
        self.step = 0
        self.specs: list[SiteSpec] | None = None  # filled by `discover`
        self.watcher: Watcher | None = None  # told by `profile` when each site runs
        self.tables = {(table.site, table.bits): table for table in policy.tables}
        self.histograms: dict[str, tuple[str, Histogram]] | None = None  # filled for `profile`
        self._path: list[str] = []
        self._counts: dict[str, int] = {}
        self._site: Site | None = None
        self._func: Any = None
        self._book = LedgerBook()
        self._shared: dict[tuple[Any, ...], tuple[StorageWeakRef, Tensor, PackedShape]] = {}
        self._weights = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
        self._inputs: dict[int, StorageWeakRef] = {}  # while referred to, no other storage takes its place
        self._live_pending: weakref.WeakSet[PendingNorm] = weakref.WeakSet()
        self._stack = ExitStack()

    # ---------------------------------------------------------------- entering and leaving

    def __enter__(self) -> Session:
        register = self._stack.callback
        for module, name in self.names.items():
            register(module.register_forward_pre_hook(self._enter_module(name)).remove)
            register(module.register_forward_hook(self._leave_module(name), always_call=True).remove)
            if name in self.regions or name in self.blocks:
                register(functools.partial(_restore_forward, module, vars(module).get("forward")))
                module.forward = functools.partial(run_region, self, module, name, module.forward)
        self._stack.enter_context(functions_see_values())
        self._stack.enter_context(saved_tensors_hooks(self._pack, _unpack))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self._stack.close()
        self._live_pending.clear()
        self._shared.clear()  # a session outlives its step in reference cycles; codes go as backward reads them

    def _enter_module(self, name: str) -> Callable[[nn.Module, Any], Any]:
        if name == "":

            def enter_root(module: nn.Module, args: Any) -> None:
                self._path, self._counts = [""], {}
                self.step += 1
                tensors = [a for a in args if isinstance(a, Tensor)]
                self.batch = tensors[0].shape[0] if tensors and tensors[0].dim() else 0
                self._inputs = {t.untyped_storage()._cdata: StorageWeakRef(t.untyped_storage()) for t in tensors}
                self._shared.clear()  # of an earlier forward pass, whose codes go as its backward reads them

            return enter_root

        def enter(module: nn.Module, args: Any) -> None:
            self._path.append(name)

        return enter

    def _leave_module(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            path = self._path
            if path and path[-1] == name:
                path.pop()
            return evaluated(output) if name == "" else None

        return leave

    # ---------------------------------------------------------------- calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.paused:
            return func(*args, **(kwargs or {}))
        if types and any(issubclass(t, PendingNorm) for t in types):
            return self._call_with_pending(func, args, kwargs or {})
        if self._live_pending and may_write(func, args, kwargs or {}):
            self._evaluate_all_pending()
        route = ROUTES.get(func)
        if route is not None:
            return route(self, func, args, kwargs or {})
        self._func = func
        return func(*args, **kwargs) if kwargs else func(*args)

    def _call_with_pending(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        if isinstance(first, PendingNorm) and first.value is None:
            if is_metadata(func):
                return func(first.raw, *args[1:], **kwargs)
            if moves_tokens_only(func, first.raw, args[1:], kwargs):
                return self.defer(func(first.raw, *args[1:], **kwargs), first.call)
        args, kwargs = evaluated((args, kwargs))
        return self.__torch_function__(func, (), args, kwargs)

    def defer(self, raw: Tensor, call: Any) -> PendingNorm:
        """A pending norm that this session evaluates, at the latest when the model returns."""
        pending = PendingNorm.of(raw, call, self._evaluate_norm)
        self._live_pending.add(pending)
        return pending

    def _evaluate_norm(self, raw: Tensor, call: Any) -> Tensor:
        with torch._C.DisableTorchFunction():
            return run_norm(self, raw, call)

    def _evaluate_all_pending(self) -> None:
        """An in-place operator may change what a pending norm reads: evaluate them first."""
        for pending in list(self._live_pending):
            value_of(pending)
        self._live_pending.clear()

    # ---------------------------------------------------------------- sites

    def site(self, op: str, reason: str = "", storage: Storage | None = None) -> Site:
        """The site of the call being handled: `blocks.3.mlp.act:gelu`, `...:gelu#2` for the second in one forward."""
        path = self._path[-1] if self._path else ""
        name = f"{path}:{op}"
        count = self._counts.get(name, 0) + 1
        self._counts[name] = count
        if count > 1:
            name = f"{name}#{count}"
        return Site(name, op, self.policy.storage(name) if storage is None else storage, reason)

    def record(self, site: Site, x: Tensor, options: tuple[Storage, ...] | None = None) -> None:
        """Tells `discover` about a site; costs nothing otherwise."""
        if self.specs is not None:
            self.specs.append(
                SiteSpec(
                    site.name, site.op, tuple(x.shape), str(x.dtype).removeprefix("torch."),
                    options_of(site.op) if options is None else options, None, len(self.specs),
                )
            )  # fmt: skip

    def table(self, site: str, name: str, bits: int) -> DerivativeTable:
        """Derivative table of a site: the one fitted to it, else the universal one."""
        own = self.tables.get((site, bits))
        return fit_table(name, bits, None) if own is None else known_table(name, bits, own.borders, own.levels)

    def rounding_seed(self, site: str) -> int | None:
        """Seed of stochastic rounding for a site in this step, None when codes are rounded to nearest."""
        if not self.policy.stochastic:
            return None
        return seed_of(self.policy.seed, self.step, site)

    def rows_per_sample(self, x: Tensor) -> int:
        """Rows of channels that belong to one sample: tokens, or windows times tokens. x: [rows, ..., C]."""
        rows = x.numel() // max(x.shape[-1], 1)
        samples = self.batch if self.batch and x.shape[0] % self.batch == 0 else x.shape[0]
        return max(rows // max(samples, 1), 1)

    @contextmanager
    def attributed_to(self, site: Site) -> Iterator[None]:
        """What autograd keeps inside belongs to this site."""
        before, self._site = self._site, site
        if self.watcher is not None:
            self.watcher.forward(site.name)
        try:
            yield
        finally:
            self._site = before

    # ---------------------------------------------------------------- what autograd keeps

    @property
    def ledger(self) -> Ledger:
        """What has been kept since the session began."""
        return Ledger.of(self._book.entries, self.model)

    def _pack(self, tensor: Tensor) -> Any:
        storage = tensor.untyped_storage()._cdata
        is_owned = storage in self._weights or storage in self._inputs
        if self.paused or (is_owned and self.watcher is None):
            return _outside_graph(tensor)
        site = self._site
        if site is None:
            op = op_name(self._func) if self._func is not None else "unknown"
            site = self._site_of_stock_call(op, tensor)
        kept = tensor if is_owned else self._kept(tensor, site)
        return kept if self.watcher is None else self.watcher.packed(site.name, kept, is_owned)

    def _kept(self, tensor: Tensor, site: Site) -> Any:
        if (
            site.storage.bits
            and site.reason == ""
            and site.op in ROUNDABLE
            and _can_be_coded(tensor)
            and tuple(tensor.shape) not in site.exact_shapes
        ):
            return self._coded(tensor, site)
        self._book.enter(
            site, tensor, Storage.EXACT if site.reason == "" else site.storage, site.reason or _why_exact(site, tensor)
        )
        return _outside_graph(tensor)

    def _site_of_stock_call(self, op: str, tensor: Tensor) -> Site:
        path = self._path[-1] if self._path else ""
        site = Site(f"{path}:{op}", op, self.policy.storage(f"{path}:{op}"), "")
        if self.specs is not None and _can_be_coded(tensor) and all(s.name != site.name for s in self.specs):
            self.record(site, tensor)
        return site

    def _coded(self, tensor: Tensor, site: Site) -> tuple[Tensor, PackedShape]:
        bits = site.storage.bits or 8
        storage = tensor.untyped_storage()
        key = (storage._cdata, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor._version, bits)
        known = self._shared.get(key)
        if known is not None and not known[0].expired():
            return known[1], known[2]
        self.paused += 1
        try:
            with torch.no_grad():
                payload, packed = encode(
                    tensor.detach(), bits, layout_of(tensor, site.op), self.rounding_seed(site.name)
                )
        finally:
            self.paused -= 1
        self._shared[key] = (StorageWeakRef(storage), payload, packed)
        self._book.enter(site, payload, site.storage, "", tensor)
        return payload, packed


def _restore_forward(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    """The module's own `forward` again, or its class's where it had none of its own."""
    vars(module).pop("forward", None)
    if forward is not None:
        module.forward = forward


def _outside_graph(tensor: Tensor) -> Tensor:
    """The same storage without its grad_fn: a node that held its own output would never be freed without backward."""
    return tensor.detach() if tensor.requires_grad and not tensor.is_leaf else tensor


def _unpack(kept: Any) -> Tensor:
    if isinstance(kept, Watched):
        kept = kept.unpacked()
    if isinstance(kept, tuple):
        return decode(*kept)
    tensor: Tensor = kept
    return tensor


def _can_be_coded(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() >= MIN_CODED_ELEMENTS and tensor.dim() >= 2


def _why_exact(site: Site, tensor: Tensor) -> str:
    if site.storage is Storage.EXACT:
        return "the plan keeps it exact"
    if not tensor.is_floating_point():
        return f"{tensor.dtype} is not a floating tensor"
    if site.op not in ROUNDABLE:
        return f"the gradient of {site.op} does not bear rounding"
    return f"{tensor.numel()} elements are too few to code"


def compress(model: nn.Module, plan: Any) -> Session:
    """A context in which `model` keeps for backward what `plan` says. plan: a Plan or a StoragePolicy.

    The first entry with a plan that narrows frozen weights applies that in place. Backward may run outside.
    Raises InvalidInput for a compiled model: compile regions of it after planning instead.
    """
    policy = plan if isinstance(plan, StoragePolicy) else plan.policy
    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    if hasattr(inner, "_orig_mod"):
        raise InvalidInput(
            "compress() cannot see inside a model wrapped by torch.compile; pass the model itself, uncompiled"
        )
    prepare_frozen_weights(inner, policy.frozen_weights)
    prefer_native(next((p.device.type for p in inner.parameters()), "cpu"))
    return Session(inner, policy)
