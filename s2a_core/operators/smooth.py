"""Smooth activations: backward reads a table of derivative values by an index of a few bits.

Row 0 of each sample of a token map has a code of 8 bits beside the others': a class token lies there, and in the upper
half of a network nearly all of the gradient passes through that one row (DeiT-tiny: .04 of the squared gradient at the
first GELU, .51 at the fifth, .98 at the tenth). Cosine of all bias gradients on DeiT-tiny's weights and photos, GELU
coded at 2 / 3 / 4 bits by fitted tables: .957 / .991 / .997 with every row alike, .981 / .996 / .9989 with this. It
costs 8 / N bits an element of a map of N tokens. Weighting the fit by squared upstream gradients instead was no
better: .954 at 2 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from s2a_core import kernels
from s2a_core.kernels import DerivativeTable, fit_table, known_table
from s2a_core.kernels.curves import Curve
from s2a_core.operators.call import Call, Intent, check_packable
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import Operator
from s2a_core.operators.signature import defaults
from s2a_core.operators.writes import may_write
from s2a_core.storage import CODES, Storage

FIRST_ROW_BITS = 8
FIRST_ROW_TOKENS = 32  # in smaller maps the finer row would cost more than a quarter of a bit an element


class ActivationFunction(StoringFunction):
    """y = f(x), dx ~= dy * levels[code(x)]. x: any shape, floating. Saves ceil(numel * bits / 8) bytes.

    Of x [B, N, C] with N >= 32, B * C bytes more for row 0 of each sample.
    The code is the interval of x between the table's borders, so f' is never evaluated (Few-Bit backward,
    Novikov et al. 2022, with borders fitted per layer).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, curve: Curve, table: DerivativeTable) -> Tensor:
        y, codes = kernels.act_fwd(x, curve, table)
        ctx.table, ctx.finer, first = table, None, None
        if x.dim() == 3 and x.shape[1] >= FIRST_ROW_TOKENS and table.bits < FIRST_ROW_BITS:
            ctx.finer = fit_table(curve, FIRST_ROW_BITS)
            first = kernels.act_fwd(x.select(1, 0), curve, ctx.finer)[1]
        ctx.save_for_backward(codes, first)
        return y

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        codes, first = ctx.saved_tensors
        dx = kernels.act_bwd(dy, codes, ctx.table)
        if first is not None:
            dx.select(1, 0).copy_(kernels.act_bwd(dy.select(1, 0), first, ctx.finer))
        return dx, None, None


class Smooth(Operator):
    """A smooth activation y = f(x).

    function, derivative: f and f' of a tensor, in its precision; variants: argument -> its value -> name, f and f' of
    the curve that the activation is there. Arguments with any other value run stock.
    """

    knows = frozenset({"input", "inplace"})
    is_roundable = True

    def __init__(
        self,
        name: str,
        *functions: Callable[..., Any],
        function: Callable[[Tensor], Tensor],
        derivative: Callable[[Tensor], Tensor],
        variants: Mapping[tuple[str, Any], Curve] | None = None,
    ) -> None:
        super().__init__(name, *functions)
        self.curve = Curve(name, function, derivative)
        self.variants = dict(variants or {})
        self._shaping = frozenset(argument for argument, _ in self.variants)
        self.knows = self.knows | self._shaping

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact, or indices of 1 to 8 bits."""
        return (Storage.EXACT, *CODES)

    @property
    def curves(self) -> tuple[Curve, ...]:
        """Every curve that it can be."""
        return (self.curve, *self.variants.values())

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The call's arguments, and `curve`: which one they make."""
        given = super().bind(func, args, kwargs)
        if given is None:
            return None
        given["curve"] = self.curve
        for argument in self._shaping:
            value = given.get(argument)
            if value != (defaults(func) or {}).get(argument):
                if (argument, value) not in self.variants:
                    return None
                given["curve"] = self.variants[argument, value]
        return given

    def prepared(self, call: Call) -> Callable[[Tensor], Any] | None:
        """f with the index of each x between the borders of the site's table."""
        bits = call.site.storage.bits
        if bits is None:
            return None
        curve = call.given["curve"]
        check_packable(call.site.name, call.given["input"])
        call.site.intent = Intent.CODES
        fitted = (call.tables or {}).get((call.site.name, bits))
        table = fit_table(curve, bits) if fitted is None else known_table(bits, fitted.borders, fitted.levels)
        wants_inplace = may_write(call.func, call.args, call.kwargs)

        def run(x: Tensor) -> Any:
            y = ActivationFunction.apply(x, curve, table)
            return x.copy_(y) if wants_inplace else y

        return run

    def run(self, call: Call) -> Any:
        """Stock, or with codes."""
        run = self.prepared(call)
        return call.stock() if run is None else run(call.given["input"])
