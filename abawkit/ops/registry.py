"""Which implementations of dual-direction attention are installed, and which one serves a call.

The choice is that of the argument, else of `use`, else of the environment's ``ABAWKIT_OPS``, else the best available.
Only the last falls back: a choice by name that can't run is an error with the reasons.
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
from typing import Final, NamedTuple, NoReturn

import torch

from abawkit.errors import OpUnavailableError, OpWarning, printable
from abawkit.ops.base import GROUP, Call, Implementation
from abawkit.ops.reference import Reference
from abawkit.ops.self_check import find_difference
from abawkit.ops.tensors import Sizes

VARIABLE: Final = "ABAWKIT_OPS"
"""The variable of the environment that names an implementation; empty is the same as absent."""

_ENVIRONMENT: Final = getattr(os.environ, "_data", os.environ)
_KEY: Final = VARIABLE if _ENVIRONMENT is os.environ else os.environ.encodekey(VARIABLE)

OPERATOR: Final = "dual_direction_attention"
"""The operator that implementations are of."""


@dataclass(frozen=True)
class Offer:
    """An implementation as an installed package offers it.

    Attributes:
        name: Its name.
        package: The package and its version; several, where they offer the same name.
        summary: One line; empty where it can't be loaded.
        priority: The automatic choice takes the highest that can serve a call.
        implementation: What was loaded, or None.
        error: Why it can't be loaded; empty where it was.
        conflict: Whether that is because more than one package offers the name.
    """

    name: str
    package: str
    summary: str = ""
    priority: int = 0
    implementation: Implementation | None = None
    error: str = ""
    conflict: bool = False

    def reasons_for(self, call: Call) -> list[str]:
        """Why it can't serve a call, a phrase each; empty where it can.

        What says that it can is put to its self-check, once for each kind of call, device and build.
        """
        if self.implementation is None:
            return [self.error]
        try:
            reasons = [printable(str(reason)) for reason in self.implementation.reasons(call)]
        except (Exception, SystemExit) as error:  # another's code raises anything; the automatic choice goes on
            return [f"it fails to say whether it can: {_brief(error)}"]
        if reasons or self.name == Reference.name or call.device.type == "meta":
            return reasons
        key = self.name, call
        if key not in _differences:
            _differences[key] = printable(find_difference(self.implementation, call, self.package))
        return [_differences[key]] if _differences[key] else []


class Best(NamedTuple):
    """What the automatic choice is for a call.

    Attributes:
        chosen: The best that can serve it, or None.
        passed: What would have come before it, and what can't be loaded, with the reasons.
    """

    chosen: Offer | None
    passed: list[tuple[Offer, list[str]]]


class _Request(NamedTuple):
    name: str
    said: str  # who wishes it, as the user wrote it


_requested: ContextVar[_Request | None] = ContextVar("abawkit.ops", default=None)
_choices: dict[tuple[Call, str | None], Implementation] = {}
_loaded: dict[str, Implementation] = {}
_warned: set[tuple[str, tuple[str, ...]]] = set()
_differences: dict[tuple[str, Call], str] = {}


def select(call: Call, name: str | None = None) -> Implementation:
    """The implementation that serves a call.

    It is chosen once for each kind of call; after that this costs about a microsecond. `torch.compile` and
    `torch.export` call it when they trace: what they make keeps that choice, whatever is wished later.

    Args:
        call: What is asked for.
        name: An implementation's name, or None to leave the choice to `use`, the environment, or what is best here.

    Raises:
        OpUnavailableError: If the implementation was named and can't serve the call, if packages offer one name twice,
            or if there is no implementation at all.
    """
    if torch.compiler.is_dynamo_compiling():
        c, h, w, k, m = call.sizes
        return _loaded[_mark_traced(call.device, call.dtype, c, h, w, k, m, call.training, call.gradients, name)]
    wanted = name if name is not None else requested()
    chosen = _choices.get((call, wanted))
    if chosen is None:
        chosen = _select_automatic(call) if wanted is None else _select_named(call, _find_request(name, wanted))
        _choices[call, wanted] = _loaded[chosen.name] = chosen
    return chosen


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _mark_traced(
    device: torch.device,
    dtype: torch.dtype,
    c: int,
    h: int,
    w: int,
    k: int,
    m: int,
    training: bool,
    gradients: bool,
    name: str | None,
) -> str:
    """What dynamo runs in Python as it traces: it hands over and keeps plain constants, no tuples of names."""
    return select(Call(device, dtype, Sizes(c, h, w, k, m), training, gradients), name).name


@contextmanager
def use(name: str | None, *, said: str | None = None) -> Iterator[None]:
    """Calls in this block, in this thread, use one implementation.

    Args:
        name: Its name; None changes nothing.
        said: How messages name who wished it, such as ``--ops native``.

    Raises:
        OpUnavailableError: If there is no such implementation or it can't be loaded, before anything is run.
    """
    if name is None:
        yield
        return
    wish = _Request(name, said or f"abawkit.ops.use({name!r})")
    offer = _offer(wish)
    if offer.implementation is None:
        _refuse(wish, f"{offer.error} ({offer.package})", list_other_names(offer))
    token = _requested.set(wish)
    try:
        yield
    finally:
        _requested.reset(token)


def list_implementations() -> list[Offer]:
    """Everything that installed packages offer, loaded: the best first, what can't be loaded last."""
    return list(_registered())


def find_best(call: Call) -> Best:
    """What the automatic choice is for a call, without a warning, whatever `use` or the environment say."""
    passed: list[tuple[Offer, list[str]]] = [(o, [o.error]) for o in _registered() if o.implementation is None]
    for offer in _registered():
        if offer.implementation is not None:
            reasons = offer.reasons_for(call)
            if not reasons:
                return Best(offer, passed)
            passed.append((offer, reasons))
    return Best(None, passed)


def requested() -> str | None:
    """The name that `use` or the environment ask for, if any."""
    wish = _requested.get()
    if wish is not None:
        return wish.name
    # A variable that isn't set costs `os.environ` an exception of its own, a microsecond; its dictionary costs nothing.
    return os.environ[VARIABLE] or None if _KEY in _ENVIRONMENT else None


def refresh() -> None:
    """Forgets what was found, chosen and warned of, as after a package was installed while Python runs."""
    _registered.cache_clear()
    _choices.clear()
    _loaded.clear()
    _warned.clear()
    _differences.clear()


def describe(call: Call) -> str:
    """A call in words: ``training of float32 on cpu, with gradients, 512 x 7 x 7, 2 heads``."""
    c, h, w, k, _ = call.sizes
    mode, type_ = "training" if call.training else "evaluation", str(call.dtype).removeprefix("torch.")
    gradients = "with" if call.gradients else "without"
    heads = f"{k} head{'s' if k != 1 else ''}"
    return f"{mode} of {type_} on {call.device}, {gradients} gradients, {c} x {h} x {w}, {heads}"


def list_other_names(offer: Offer | None) -> list[str]:
    """The names of all that can be loaded, but one."""
    return [o.name for o in _registered() if o.implementation is not None and o is not offer]


def _find_request(argument: str | None, wanted: str) -> _Request:
    if argument is not None:
        return _Request(wanted, f"implementation={wanted!r}")
    return _requested.get() or _Request(wanted, f"{VARIABLE}={wanted}")


def _select_named(call: Call, wish: _Request) -> Implementation:
    offer = _offer(wish)
    reasons = offer.reasons_for(call)
    if offer.implementation is None or reasons:
        others = [o.name for o in _registered() if o is not offer and not o.reasons_for(call)]
        found = "; ".join(reasons) if offer.implementation else f"{offer.error} ({offer.package})"
        _refuse(wish, f"can't serve {describe(call)}: {found}", others)
    return offer.implementation


def _select_automatic(call: Call) -> Implementation:
    chosen, passed = find_best(call)
    for offer, _ in passed:
        if offer.conflict:
            raise OpUnavailableError(f"{offer.name}: {offer.error}\nuninstall all of them but one, or name another one")
    if chosen is None or chosen.implementation is None:
        refused = [f"{offer.name}: {'; '.join(reasons)}" for offer, reasons in passed]
        advice = "`abawkit ops` lists what serves what" if refused else f"no package offers any in the group {GROUP}"
        raise OpUnavailableError(
            "\n".join([f"no implementation of {OPERATOR} can serve {describe(call)}", *refused])
            + f"\n{advice}; install abawkit again: pip install ."
        )
    for offer, reasons in passed:
        key = offer.name, tuple(reasons)
        if key not in _warned:
            _warned.add(key)
            warnings.warn(
                f"{OPERATOR} runs on {chosen.name}, as {offer.name} can't be used: {'; '.join(reasons)} "
                f"(`abawkit ops` says more; {VARIABLE}={chosen.name} ends this line)",
                OpWarning,
                stacklevel=4,
            )
    return chosen.implementation


def _offer(wish: _Request) -> Offer:
    found = next((offer for offer in _registered() if offer.name == wish.name), None)
    if found is None:
        _refuse(wish, "no installed package offers this implementation", list_other_names(None))
    return found


def _refuse(wish: _Request, found: str, others: Iterable[str]) -> NoReturn:
    raise OpUnavailableError(
        f"{printable(wish.said)}: {found}\n"
        f"what could run instead: {', '.join(others) or 'nothing'}\n"
        "name one of these, or none for the best available; `abawkit ops` lists all and what stands against each"
    )


@cache
def _registered() -> tuple[Offer, ...]:
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        entries = by_name.setdefault(entry.name, [])
        if all(entry.value != other.value for other in entries):  # one package can be on the path twice
            entries.append(entry)
    offers = [_load(name, entries) for name, entries in by_name.items()]
    return tuple(sorted(offers, key=lambda o: (o.implementation is None, -o.priority, o.name)))


def _load(name: str, entries: list[EntryPoint]) -> Offer:
    packages = ", ".join(sorted({_package(entry) for entry in entries}))
    name = printable(name)
    if len(entries) > 1:
        places = ", ".join(sorted(f"{entry.value} ({_package(entry)})" for entry in entries))
        return Offer(name, packages, error=f"offered by more than one package: {places}", conflict=True)
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no result
            loaded = _checked(entries[0])
    except (Exception, SystemExit) as error:  # importing another's package raises anything, or ends the program
        return Offer(name, packages, error=f"{entries[0].value} can't be loaded: {_brief(error)}")
    return Offer(name, packages, printable(loaded.summary), loaded.priority, loaded)


def _checked(entry: EntryPoint) -> Implementation:
    if "/" not in entry.name.strip("/") and not (entry.dist and entry.dist.name == "abawkit"):
        raise TypeError("names of other packages are vendor/name, one without a slash is abawkit's own")
    found = entry.load()
    if not (isinstance(found, type) and issubclass(found, Implementation)):
        raise TypeError("it is no subclass of abawkit.ops.base.Implementation")
    if getattr(found, "name", None) != entry.name:
        raise TypeError(f"its name is {getattr(found, 'name', None)!r}, its entry point's {entry.name!r}")
    if not isinstance(getattr(found, "summary", None), str) or type(found.priority) is not int:
        raise TypeError("its summary must be a string and its priority an integer")
    return found()


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"


def _brief(error: BaseException) -> str:
    lines = str(error).splitlines()
    return printable(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
