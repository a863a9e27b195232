"""Which implementations of an operator are installed, and which one serves a call.

A request comes from the argument of a call, else from `use`, else from the environment's ``ABAWKIT_OPS``. Without one,
the best implementation that can serve the call is chosen. A request that can't be met is an error with the reasons.
`use` and the environment request a name of every operator for which a package offers it; the others choose for
themselves.
"""

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple, NoReturn

import torch

from abawkit.errors import OpUnavailableError, OpWarning, printable
from abawkit.ops.base import (
    BlockImplementation,
    Call,
    Implementation,
    NormImplementation,
    OperatorImplementation,
    StemImplementation,
)
from abawkit.ops.operators import ATTENTION, OPERATORS, Operator
from abawkit.ops.reference import Reference
from abawkit.ops.self_check import find_difference

VARIABLE: Final = "ABAWKIT_OPS"
"""The environment variable that names an implementation; empty is the same as absent."""

_ENVIRONMENT: Final = getattr(os.environ, "_data", os.environ)
_KEY: Final = VARIABLE if _ENVIRONMENT is os.environ else os.environ.encodekey(VARIABLE)


@dataclass(frozen=True)
class Offer:
    """An implementation in an installed package.

    Attributes:
        name: Its name.
        package: The package and its version; several, where they offer the same name.
        summary: One line; empty where it can't be loaded.
        priority: The automatic choice takes the highest that can serve a call.
        implementation: The loaded implementation, or None.
        error: Why it can't be loaded; empty where it was.
        conflict: Whether that is because more than one package offers the name.
    """

    name: str
    package: str
    summary: str = ""
    priority: int = 0
    implementation: OperatorImplementation | None = None
    error: str = ""
    conflict: bool = False

    def reasons_for(self, call: Call) -> list[str]:
        """Why it can't serve a call, a phrase each; empty where it can.

        An implementation that claims to serve the call is checked against the reference, once for each kind of call,
        device and build.
        """
        if self.implementation is None:
            return [self.error]
        if call.synchronised and not self.implementation.synchronises:
            return ["its batch norms take the statistics of one process alone"]
        try:
            reasons = [printable(str(reason)) for reason in self.implementation.reasons(call)]
        except (Exception, SystemExit) as error:  # another's code raises anything; the automatic choice goes on
            return [f"its check of the call fails: {_summarise_error(error)}"]
        if reasons or self.name == Reference.name or call.device.type == "meta":
            return reasons
        call = call._replace(synchronised=False)  # a check by one process, of the same code
        key = self.name, call
        if key not in _differences:
            _differences[key] = printable(
                find_difference(self.implementation, call, self.package, OPERATORS[call.sizes.operator].compare)
            )
        return [_differences[key]] if _differences[key] else []


class Best(NamedTuple):
    """The automatic choice for a call.

    Attributes:
        chosen: The best that can serve it, or None.
        passed: Those of higher priority, and those that can't be loaded, with the reasons.
    """

    chosen: Offer | None
    passed: list[tuple[Offer, list[str]]]


class Request(NamedTuple):
    """An implementation that was requested by name.

    Attributes:
        name: Of the implementation.
        source: Where the request comes from, as the user wrote it: ``--ops native`` or ``ABAWKIT_OPS=native``.
    """

    name: str
    source: str


_in_use: ContextVar[Request | None] = ContextVar("abawkit.ops", default=None)
_choices: dict[tuple[Call, Request | None], OperatorImplementation] = {}
_loaded: dict[tuple[str, str], OperatorImplementation] = {}
_warned: set[tuple[str, str, tuple[str, ...]]] = set()
_differences: dict[tuple[str, Call], str] = {}


@contextmanager
def use(name: str | None, *, source: str = "") -> Iterator[Request | None]:
    """Within the block, calls of this thread use one implementation.

    Args:
        name: Its name; None changes nothing.
        source: Where the request comes from, for messages, such as ``--ops native``.

    Yields:
        The request that now holds; None where the best available is chosen for each call.

    Raises:
        OpUnavailableError: If there is no such implementation or it can't be loaded, before anything is run.
    """
    if name is None:
        yield find_request()
        return
    request = Request(name, source or f"abawkit.ops.use({name!r})")
    for operator in _find_offering(name) or [ATTENTION]:
        _load_requested(operator, request)
    token = _in_use.set(request)
    try:
        yield request
    finally:
        _in_use.reset(token)


def find_request(argument: str | None = None) -> Request | None:
    """The request of a call's argument, else of `use`, else of the environment; None for the best available."""
    if argument is not None:
        return Request(argument, f"implementation={argument!r}")
    if request := _in_use.get():
        return request
    # A variable that isn't set costs `os.environ` an exception of its own, a microsecond; its dictionary costs nothing.
    name = os.environ[VARIABLE] if _KEY in _ENVIRONMENT else ""
    return Request(name, f"{VARIABLE}={name}") if name else None


def select(call: Call, name: str | None = None) -> Implementation:
    """The implementation of dual-direction attention that serves a call.

    It is chosen once for each kind of call; after that this costs about a microsecond. `torch.compile` and
    `torch.export` call it when they trace: a traced function keeps that choice, whatever is requested later.

    Args:
        call: The kind of call.
        name: The implementation's name; None for the request of `use` or the environment, or the best available.

    Raises:
        OpUnavailableError: If the implementation was named and can't serve the call, if packages offer one name twice,
            or if there is no implementation at all.
    """
    chosen: Implementation = _select(call, name)
    return chosen


def select_block(call: Call, name: str | None = None) -> BlockImplementation:
    """The implementation of the mixed block that serves a call; see `select`."""
    chosen: BlockImplementation = _select(call, name)
    return chosen


def select_norm(call: Call, name: str | None = None) -> NormImplementation:
    """The implementation of norm_prelu that serves a call; see `select`."""
    chosen: NormImplementation = _select(call, name)
    return chosen


def select_stem(call: Call, name: str | None = None) -> StemImplementation:
    """The implementation of the stem that serves a call; see `select`."""
    chosen: StemImplementation = _select(call, name)
    return chosen


def find_implementation(call: Call) -> OperatorImplementation:
    """The implementation that serves a call of any operator; see `select`."""
    chosen: OperatorImplementation = _select(call, None)
    return chosen


def _select(call: Call, name: str | None) -> Any:
    if torch.compiler.is_dynamo_compiling():
        operator, kind = call.sizes.operator, (call.device, call.dtype, call.training, call.gradients)
        return _loaded[operator, _select_while_tracing(name, operator, *kind, *call.sizes)]
    request = find_request(name)
    chosen = _choices.get((call, request))
    if chosen is None:
        requested = request and (name is not None or _concerns(request, call))
        chosen = _select_requested(call, request) if request and requested else _select_best(call)
        _choices[call, request] = _loaded[call.sizes.operator, chosen.name] = chosen
    return chosen


def _select_while_tracing(
    name: str | None,
    operator: str,
    device: torch.device,
    dtype: torch.dtype,
    training: bool,
    gradients: bool,
    *sizes: Any,
) -> str:
    """Runs in Python while dynamo traces, which passes and keeps plain constants only."""
    found: str = _select(Call(device, dtype, OPERATORS[operator].sizes(*sizes), training, gradients), name).name
    return found


# What `torch.compiler.assume_constant_result` does, which imports all of dynamo for it, into every process.
_select_while_tracing._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _concerns(request: Request, call: Call) -> bool:
    """Whether a request for all operators is one for this call; see `OperatorImplementation.is_meant_for`."""
    offering = _find_offering(request.name)
    if offering and OPERATORS[call.sizes.operator] not in offering:
        return False
    offers = _load_offers(OPERATORS[call.sizes.operator])
    return all(
        o.implementation is None or o.implementation.is_meant_for(call) for o in offers if o.name == request.name
    )


def _find_offering(name: str) -> list[Operator]:
    """The operators that have an implementation of this name."""
    return [operator for operator in OPERATORS.values() if any(o.name == name for o in _load_offers(operator))]


def _select_requested(call: Call, request: Request) -> OperatorImplementation:
    operator = OPERATORS[call.sizes.operator]
    offer, implementation = _load_requested(operator, request)
    if reasons := offer.reasons_for(call):
        others = [o.name for o in _load_offers(operator) if o is not offer and not o.reasons_for(call)]
        _refuse(request, f"can't serve {call.describe()}: {'; '.join(reasons)}", others)
    return implementation


def _load_requested(operator: Operator, request: Request) -> tuple[Offer, OperatorImplementation]:
    offers = _load_offers(operator)
    offer = next((offer for offer in offers if offer.name == request.name), None)
    if offer is None or offer.implementation is None:
        found = f"{offer.error} ({offer.package})" if offer else "no installed package offers this implementation"
        _refuse(request, found, [o.name for o in offers if o.implementation is not None])
    return offer, offer.implementation


def _refuse(request: Request, found: str, others: Iterable[str]) -> NoReturn:
    raise OpUnavailableError(
        f"{printable(request.source)}: {found}\n"
        f"what could run instead: {', '.join(others) or 'nothing'}\n"
        "name one of these, or none for the best available; `abawkit ops` lists all and why the others can't run"
    )


def _select_best(call: Call) -> OperatorImplementation:
    operator = OPERATORS[call.sizes.operator]
    chosen, passed = find_best(call)
    for offer, _ in passed:
        if offer.conflict:
            raise OpUnavailableError(f"{offer.name}: {offer.error}\nuninstall all of them but one, or name another one")
    if chosen is None or chosen.implementation is None:
        refused = [f"{offer.name}: {'; '.join(reasons)}" for offer, reasons in passed]
        advice = (
            "`abawkit ops` lists what serves what"
            if refused
            else f"no package offers any in the group {operator.group}"
        )
        raise OpUnavailableError(
            "\n".join([f"no implementation of {operator.name} can serve {call.describe()}", *refused])
            + f"\n{advice}; install abawkit again: pip install ."
        )
    for offer, reasons in passed:
        key = operator.name, offer.name, tuple(reasons)
        meant = offer.implementation is None or offer.implementation.is_meant_for(call)
        if meant and key not in _warned:
            _warned.add(key)
            warnings.warn(
                f"{operator.name} runs on {chosen.name}, as {offer.name} can't be used: {'; '.join(reasons)} "
                f"(see `abawkit ops`; {VARIABLE}={chosen.name} hides this warning)",
                OpWarning,
                stacklevel=5,
            )
    return chosen.implementation


def find_best(call: Call) -> Best:
    """The automatic choice for a call, without a warning, whatever was requested."""
    offers = _load_offers(OPERATORS[call.sizes.operator])
    passed: list[tuple[Offer, list[str]]] = [(o, [o.error]) for o in offers if o.implementation is None]
    for offer in offers:
        if offer.implementation is not None:
            reasons = offer.reasons_for(call)
            if not reasons:
                return Best(offer, passed)
            passed.append((offer, reasons))
    return Best(None, passed)


def list_implementations(operator: Operator = ATTENTION) -> list[Offer]:
    """All implementations of an operator in installed packages: the best first, those that can't be loaded last."""
    return list(_load_offers(operator))


def refresh() -> None:
    """Forgets all implementations, choices and warnings, as after a package was installed while Python runs."""
    _load_offers.cache_clear()
    for kept in (_choices, _loaded, _warned, _differences):
        kept.clear()


@cache
def _load_offers(operator: Operator) -> tuple[Offer, ...]:
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=operator.group):
        entries = by_name.setdefault(entry.name, [])
        if all(entry.value != other.value for other in entries):  # one package can be on the path twice
            entries.append(entry)
    offers = [_load_offer(name, entries, operator.kind) for name, entries in by_name.items()]
    return tuple(sorted(offers, key=lambda o: (o.implementation is None, -o.priority, o.name)))


def _load_offer(name: str, entries: list[EntryPoint], kind: type[OperatorImplementation]) -> Offer:
    packages = ", ".join(sorted({_name_package(entry) for entry in entries}))
    name = printable(name)
    if len(entries) > 1:
        offered = ", ".join(sorted(f"{entry.value} ({_name_package(entry)})" for entry in entries))
        return Offer(name, packages, error=f"offered by more than one package: {offered}", conflict=True)
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no result
            loaded = _load_implementation(entries[0], kind)
    except (Exception, SystemExit) as error:  # importing another's package raises anything, or ends the program
        return Offer(name, packages, error=f"{entries[0].value} can't be loaded: {_summarise_error(error)}")
    return Offer(name, packages, printable(loaded.summary), loaded.priority, loaded)


def _load_implementation(entry: EntryPoint, kind: type[OperatorImplementation]) -> OperatorImplementation:
    if "/" not in entry.name.strip("/") and not (entry.dist and entry.dist.name == "abawkit"):
        raise TypeError("names of other packages are vendor/name, one without a slash is abawkit's own")
    found = entry.load()
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise TypeError(f"it is no subclass of {kind.__module__}.{kind.__name__}")
    if getattr(found, "name", None) != entry.name:
        raise TypeError(f"its name is {getattr(found, 'name', None)!r}, its entry point's {entry.name!r}")
    if not isinstance(getattr(found, "summary", None), str) or type(found.priority) is not int:
        raise TypeError("its summary must be a string and its priority an integer")
    return found()


def _name_package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"


def _summarise_error(error: BaseException) -> str:
    lines = str(error).splitlines()
    return printable(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
