"""Kinds of values that several documents have: budgets, Unix times, reasons, pages."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from app.text import refusals
from s2a_core.errors import InvalidInput, UnknownField
from s2a_core.fields import nearest
from s2a_core.requests import DEFAULTS, FIELDS

MAX_BYTES = 2**60


def _amount(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """One message for what is neither of the two that a budget may be."""
    try:
        return check(given)
    except ValidationError as error:
        shown = repr(given)[:60]
        raise ValueError(f"memory is a number of bytes, or text such as 4GiB, 512MiB or 4GB, not {shown}") from error


Name = Annotated[str, Field(min_length=1, max_length=100, examples=["photos"])]
Label = Annotated[str, Field(max_length=500)]
Labels = Annotated[
    dict[Annotated[str, Field(max_length=64)], Label],
    Field(max_length=16, examples=[{"owner": "ana"}]),
]
Budget = Annotated[
    Annotated[int, Field(ge=1, le=MAX_BYTES)] | Annotated[str, Field(max_length=40, pattern=r"^[0-9]")],
    WrapValidator(_amount),
    Field(description="Memory: bytes, or text such as 4GiB, 512MiB or 4GB.", examples=["4GiB", 536870912]),
]
Time = Annotated[float, Field(description="Unix seconds.", examples=[1767225600.0])]
Bytes = Annotated[int, Field(ge=0, description="Bytes.", examples=[536870912])]


def declared(name: str, words: str = "", default: Any = None) -> Any:
    """A field of a run's request as pydantic's: limits and help of its rule; words: what only a service adds."""
    rule = FIELDS[name]
    unsaid = rule.unsaid or (str(DEFAULTS[name]) if DEFAULTS.get(name) not in (None, "") else "")
    left_out = f"Left out: {unsaid}." if unsaid and default is None else ""
    description = " ".join(part for part in (rule.help, words, left_out) if part)
    if rule.numbers is not None:  # pydantic has no limits of a number that may be a text: the rule checks them
        limits: dict[str, Any] = {"minimum": rule.minimum, "maximum": rule.maximum}
        return Field(default, description=description, json_schema_extra=limits)
    if rule.kind is not str:
        return Field(default, description=description, ge=rule.minimum, gt=rule.above, le=rule.maximum)
    shortest, longest = (None if limit is None else int(limit) for limit in (rule.minimum, rule.maximum))
    return Field(default, description=description, min_length=shortest, max_length=longest)


class Request(BaseModel):
    """A body. Text in it that cannot be stored is refused, and so is what is not known, with the nearest name.

    Limits have the words they have at every other door.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_storable_text(cls, given: Any) -> Any:
        wrong = [
            InitErrorDetails(type=PydanticCustomError("unstorable", why), loc=place, input=None)
            for place, why in refusals(given)
        ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return given

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, given: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            request = check(given)
        except ValidationError as error:
            raise ValidationError.from_exception_data(cls.__name__, [_line(cls, e) for e in error.errors()]) from None
        for name, rule in FIELDS.items():
            if (rule.words or rule.numbers or rule.form) is not None and getattr(request, name, None) is not None:
                try:
                    rule.check(name, getattr(request, name))
                    setattr(request, name, rule.plain(getattr(request, name)))
                except InvalidInput as refusal:
                    error_type = PydanticCustomError(
                        refusal.code, refusal.message.replace("{", "{{").replace("}", "}}")
                    )
                    wrong = InitErrorDetails(type=error_type, loc=(name,), input=getattr(request, name))
                    raise ValidationError.from_exception_data(cls.__name__, [wrong]) from None
        return request


def _line(kind: type[BaseModel], error: ErrorDetails) -> InitErrorDetails:
    """An error of validation with what a request would say of the same field and value."""
    message, place = error["msg"], error["loc"]
    if error["type"] == "unstorable":
        pass
    elif error["type"] == "extra_forbidden" and len(place) == 1:
        known = list(kind.model_fields)
        message = UnknownField(str(place[0]), nearest(str(place[0]), known), "the request", known).message
    elif len(place) == 1 and place[0] in kind.model_fields and (rule := FIELDS.get(str(place[0]))):
        try:
            rule.check(str(place[0]), rule.read(error["input"]))
        except InvalidInput as refusal:
            message = refusal.message
    return InitErrorDetails(type=_literal(error["type"], message), loc=place, input=error["input"])


def _literal(code: str, message: str) -> PydanticCustomError:
    """An error whose message is taken as it is: pydantic reads braces as places to fill."""
    return PydanticCustomError(code, message.replace("{", "{{").replace("}", "}}"))


class Reason(BaseModel):
    """Why something is as it is: a stable code, words for people, and numbers."""

    code: str = Field(examples=["waiting_for_memory"])
    message: str = Field(examples=["needs 512.0 MiB, 128.0 MiB are free on gpu-0"])
    details: dict[str, Any] = Field(default_factory=dict)


class Page(BaseModel):
    """The part of every list: `next` is the `after` of the following page, null on the last one."""

    next: str | None = None


class Problem(BaseModel):
    """RFC 9457. `errors` points into what was sent; `request_id` is in the logs."""

    type: str = Field(examples=["urn:s2a:error:not_found"])
    title: str = Field(examples=["no job job_0123456789ab"])
    status: int = Field(examples=[404])
    code: str = Field(examples=["not_found"])
    details: dict[str, Any]
    errors: list[dict[str, Any]]
    request_id: str
    instance: str
