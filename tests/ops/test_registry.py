"""Which implementation serves a call: who wishes it, what falls back, and what is said where something can't run."""

import sys
import threading
import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from abawkit.errors import OpUnavailableError, OpWarning
from abawkit.ops import registry, use
from abawkit.ops.base import Call, Implementation
from abawkit.ops.operators import ATTENTION
from abawkit.ops.reference import Reference
from abawkit.ops.registry import find_best, list_implementations, select
from abawkit.ops.testing import DDAMFN_SIZES

Install = Callable[..., None]
CALL = Call(torch.device("cpu"), torch.float32, DDAMFN_SIZES, training=False, gradients=False)
TRAINING = CALL._replace(training=True, gradients=True)
REFERENCE = "abawkit.ops.reference:Reference"

pytestmark = pytest.mark.usefixtures("fresh_registry")


class Fast(Reference):
    name: ClassVar[str] = "vendor/fast"
    summary: ClassVar[str] = "better than the reference"
    priority: ClassVar[int] = 60


class Picky(Reference):
    name: ClassVar[str] = "vendor/picky"
    summary: ClassVar[str] = "evaluation only"
    priority: ClassVar[int] = 70

    def reasons(self, call: Call) -> list[str]:
        return ["it has no backward"] if call.training else []


class Confused(Fast):
    name: ClassVar[str] = "vendor/confused"

    def reasons(self, call: Call) -> list[str]:
        raise KeyError(call.dtype)


class Unfinished(Implementation):
    name: ClassVar[str] = "vendor/unfinished"
    summary: ClassVar[str] = "has no forward"


class Urgent(Fast):
    name: ClassVar[str] = "vendor/urgent"
    priority: ClassVar[Any] = "very"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes these, and the reference, the only implementations that packages offer, as name and place."""
    plugins = ModuleType("plugins")
    vars(plugins).update({c.__name__: c for c in (Fast, Picky, Confused, Unfinished, Urgent)})
    monkeypatch.setitem(sys.modules, "plugins", plugins)

    def entry(name: str, value: str) -> EntryPoint:
        package = "abawkit" if value.startswith("abawkit.") else value.split(":")[0]
        found: EntryPoint = EntryPoint(name, value, ATTENTION.group)._for(SimpleNamespace(name=package, version="1.2"))  # type: ignore[attr-defined]
        return found

    def install(*offers: tuple[str, str], reference: bool = True) -> None:
        own = [("reference", REFERENCE)] if reference else []
        entries = EntryPoints(entry(name, value) for name, value in [*own, *offers])
        monkeypatch.setattr(registry, "entry_points", lambda group: entries.select(group=group))
        registry.refresh()

    return install


FAST, PICKY = ("vendor/fast", "plugins:Fast"), ("vendor/picky", "plugins:Picky")


def test_abawkits_own_implementations_are_registered_like_any_other() -> None:
    assert {offer.name for offer in list_implementations()} >= {"reference", "native"}
    assert isinstance(select(CALL, "reference"), Reference)


def test_the_automatic_choice_is_the_best_that_can_serve_the_call(installed: Install) -> None:
    installed(FAST)
    assert select(CALL).name == "vendor/fast"


def test_equal_priorities_are_decided_by_name(installed: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Picky, "priority", Fast.priority)
    installed(PICKY, FAST)
    assert select(CALL).name == "vendor/fast"


def test_the_argument_comes_before_the_context_and_that_before_the_environment(
    installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(FAST, PICKY)
    assert select(CALL).name == "vendor/picky"
    monkeypatch.setenv("ABAWKIT_OPS", "reference")
    assert select(CALL).name == "reference"
    with use("vendor/fast"):
        assert select(CALL).name == "vendor/fast"
        assert select(CALL, "vendor/picky").name == "vendor/picky"
        with use(None):
            assert select(CALL).name == "vendor/fast"
        with use("vendor/picky"):
            assert select(CALL).name == "vendor/picky"
        assert select(CALL).name == "vendor/fast"
    assert select(CALL).name == "reference"
    monkeypatch.setenv("ABAWKIT_OPS", "")
    assert select(CALL).name == "vendor/picky"


def test_a_wish_of_one_thread_is_not_that_of_another(installed: Install) -> None:
    installed(FAST)
    found: list[str] = []
    with use("reference"):
        thread = threading.Thread(target=lambda: found.append(select(CALL).name))
        thread.start()
        thread.join()
    assert found == ["vendor/fast"]


def test_a_context_ends_with_its_block_even_by_an_error(installed: Install) -> None:
    installed(FAST)
    with pytest.raises(ZeroDivisionError), use("reference"):
        raise ZeroDivisionError
    assert select(CALL).name == "vendor/fast"


def test_an_unknown_name_says_who_asked_for_it_and_what_there_is(
    installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(FAST)
    expected = "{}: no installed package offers this implementation\nwhat could run instead: vendor/fast, reference\n"
    with pytest.raises(OpUnavailableError) as argument:
        select(CALL, "nope")
    assert str(argument.value).startswith(expected.format("implementation='nope'"))
    with pytest.raises(OpUnavailableError) as context, use("nope"):
        raise AssertionError
    assert str(context.value).startswith(expected.format("abawkit.ops.use('nope')"))
    with pytest.raises(OpUnavailableError) as option, use("nope", source="--ops nope"):
        raise AssertionError
    assert str(option.value).startswith(expected.format("--ops nope"))
    monkeypatch.setenv("ABAWKIT_OPS", "nope")
    with pytest.raises(OpUnavailableError) as environment:
        select(CALL)
    assert str(environment.value).startswith(expected.format("ABAWKIT_OPS=nope"))
    assert str(environment.value).splitlines()[-1].startswith("name one of these, or none for the best available")
    assert environment.value.exit_code == 4


def test_an_argument_is_not_blamed_on_an_environment_that_says_the_same(
    installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed()
    monkeypatch.setenv("ABAWKIT_OPS", "nope")
    with pytest.raises(OpUnavailableError, match=r"^implementation='nope': "):
        select(CALL, "nope")


def test_a_choice_by_name_that_can_not_serve_the_call_is_an_error_with_the_reasons(installed: Install) -> None:
    installed(PICKY, FAST)
    with pytest.raises(OpUnavailableError) as error, use("vendor/picky"):
        select(TRAINING)
    assert str(error.value).splitlines()[:2] == [
        "abawkit.ops.use('vendor/picky'): can't serve training of float32 on cpu, with gradients, 512 x 7 x 7, "
        "2 heads: it has no backward",
        "what could run instead: vendor/fast, reference",
    ]


def test_the_automatic_choice_falls_back_with_one_warning(installed: Install) -> None:
    installed(PICKY)
    calls = [TRAINING._replace(sizes=DDAMFN_SIZES._replace(channels=c)) for c in (8, 16, 24)]  # one reason for all
    with pytest.warns(OpWarning) as caught:
        assert [select(call).name for call in calls] == ["reference"] * 3
    assert [str(w.message).split(" (")[0] for w in caught] == [
        "dual_direction_attention runs on reference, as vendor/picky can't be used: it has no backward"
    ]


def test_nothing_is_said_of_what_would_come_after_the_choice(
    installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Picky, "priority", -1)
    installed(PICKY, FAST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select(TRAINING).name == "vendor/fast"


def test_a_choice_by_name_warns_of_nothing(installed: Install) -> None:
    installed(PICKY, ("vendor/broken", "no_such_package:X"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select(TRAINING, "reference").name == "reference"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("vendor/broken", "no_such_package:X", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("vendor/broken", "plugins:Absent", "AttributeError"),
        ("vendor/odd", "collections:Counter", "no subclass of abawkit.ops.base.Implementation"),
        ("vendor/odd", "abawkit.labels:FIELDS", "no subclass of abawkit.ops.base.Implementation|AttributeError"),
        ("vendor/other", "plugins:Fast", "its name is 'vendor/fast', its entry point's 'vendor/other'"),
        ("fast", "plugins:Fast", "names of other packages are vendor/name"),
        ("/fast", "plugins:Fast", "names of other packages are vendor/name"),
        ("vendor/unfinished", "plugins:Unfinished", "abstract"),
        ("vendor/urgent", "plugins:Urgent", "its priority an integer"),
    ],
)
def test_a_plugin_that_can_not_be_loaded_is_listed_warned_of_and_gone_by(
    installed: Install, name: str, value: str, reason: str
) -> None:
    installed((name, value))
    listed = list_implementations()[-1]
    assert (listed.name, listed.implementation) == (name, None)
    assert listed.package == f"{'abawkit' if value.startswith('abawkit') else value.split(':')[0]} 1.2"
    with pytest.warns(OpWarning, match=reason):
        assert select(CALL).name == "reference"
    with pytest.raises(OpUnavailableError, match=reason):
        select(CALL, name)
    with pytest.raises(OpUnavailableError, match=reason), use(name):
        raise AssertionError


def test_reasons_that_fail_are_a_reason(installed: Install) -> None:
    installed(("vendor/confused", "plugins:Confused"))
    with pytest.warns(OpWarning, match=r"its check of the call fails: KeyError: torch\.float32"):
        assert select(CALL).name == "reference"


def test_a_name_that_two_packages_offer_is_an_error_that_names_both(installed: Install) -> None:
    installed(FAST, ("vendor/fast", "rival.ops:Theirs"))
    both = r"more than one package: plugins:Fast \(plugins 1\.2\), rival\.ops:Theirs \(rival\.ops 1\.2\)"
    for name in (None, "vendor/fast"):
        with pytest.raises(OpUnavailableError, match=both):
            select(CALL, name)
    assert select(CALL, "reference").name == "reference"


def test_one_package_found_twice_on_the_path_is_no_conflict(installed: Install) -> None:
    installed(FAST, FAST)
    assert select(CALL).name == "vendor/fast"


def test_without_any_implementation_the_message_says_to_install(installed: Install) -> None:
    installed(reference=False)
    with pytest.raises(OpUnavailableError, match=r"no package offers any in the group abawkit\.ops; install"):
        select(CALL)


def test_where_nothing_can_serve_a_call_every_reason_is_given(installed: Install) -> None:
    installed(PICKY, reference=False)
    with pytest.raises(OpUnavailableError, match="vendor/picky: it has no backward\n`abawkit ops` lists"):
        select(TRAINING)


def test_a_choice_is_made_once_for_a_kind_of_call(installed: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Call] = []

    def reasons(_: Fast, call: Call) -> list[str]:
        asked.append(call)
        return []

    monkeypatch.setattr(Fast, "reasons", reasons)
    installed(FAST)
    for _ in range(3):
        assert select(CALL) is select(CALL._replace())
    assert asked == [CALL]
    select(TRAINING)
    assert asked == [CALL, TRAINING]


def test_the_best_is_told_whatever_is_wished(installed: Install) -> None:
    installed(PICKY, ("vendor/broken", "no_such_package:X"))
    with use("reference"), warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen, passed = find_best(TRAINING)
    assert chosen is not None
    assert chosen.name == "reference"
    assert [offer.name for offer, _ in passed] == ["vendor/broken", "vendor/picky"]
