"""Formats are found by name among what installed packages offer; trouble with one is named."""

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from abawkit.errors import ConfigError
from abawkit.formats import base
from abawkit.formats import editions as abaw7
from abawkit.formats.base import FORMAT_GROUP, get_format, list_format_names
from abawkit.formats.editions import ABAW7

Install = Callable[..., None]
PARTS = ("name", "summary", "tasks", "container", "read_list", "encode", "check", "read", "read_truth")
OURS = "abawkit.formats.editions:ABAW7"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes these the only formats that packages offer, as name and place."""

    def install(*offers: tuple[str, str]) -> None:
        entries = EntryPoints(EntryPoint(name, value, FORMAT_GROUP) for name, value in offers)
        monkeypatch.setattr(base, "find_entry_points", lambda: entries)

    return install


def test_abawkits_own_format_is_registered_like_any_other() -> None:
    assert isinstance(get_format("abaw7"), ABAW7)


def test_a_format_of_another_package_is_found(installed: Install) -> None:
    installed(("abaw7", OURS), ("other", OURS))
    assert isinstance(get_format("other"), ABAW7)


def test_a_class_that_is_no_format_is_refused_before_anything_is_read(installed: Install) -> None:
    installed(("odd", "collections:Counter"))
    with pytest.raises(ConfigError, match="is not a format, it has no name, summary, tasks, container, read_list, enc"):
        get_format("odd")


@pytest.mark.parametrize(
    "part", ["name", "summary", "tasks", "container", "read_list", "encode", "check", "read_truth"]
)
def test_a_format_of_an_earlier_abawkit_is_refused_and_what_it_lacks_is_named(
    installed: Install, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    old = type("Old", (), {name: getattr(ABAW7, name) for name in PARTS if name != part})
    monkeypatch.setattr(abaw7, "Old", old, raising=False)
    installed(("old", "abawkit.formats.editions:Old"))
    with pytest.raises(
        ConfigError, match=f"--format old: abawkit.formats.editions:Old is not a format, it has no {part}$"
    ):
        get_format("old")


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("tasks", (), "its tasks is (), expected some of va, expression, au, compound"),
        ("tasks", "va", "its tasks is 'va', expected some of"),
        ("tasks", ("va", "pain"), "its tasks is ('va', 'pain'), expected some of"),
        ("container", "zip", "its container is 'zip', expected one of file, folder"),
    ],
)
def test_a_format_whose_parts_are_not_what_they_must_be_is_refused(
    installed: Install, monkeypatch: pytest.MonkeyPatch, part: str, value: object, message: str
) -> None:
    monkeypatch.setattr(abaw7, "Odd", type("Odd", (ABAW7,), {part: value}), raising=False)
    installed(("odd", "abawkit.formats.editions:Odd"))
    with pytest.raises(ConfigError, match=re.escape(message)):
        get_format("odd")


def test_names_are_listed_once_each_and_sorted(installed: Install) -> None:
    installed(("zeta", OURS), ("abaw7", OURS), ("zeta", OURS))
    assert list_format_names() == ["abaw7", "zeta"]


def test_an_unknown_format_is_an_error_that_lists_those_installed(installed: Install) -> None:
    installed(("zeta", OURS), ("abaw7", OURS))
    with pytest.raises(ConfigError, match="--format nope: unknown format; installed formats: abaw7, zeta"):
        get_format("nope")


@pytest.mark.parametrize(
    "value", ["no_such_package:X", "abawkit.formats.editions:NoSuchClass", "abawkit.labels:FIELDS"]
)
def test_a_format_that_fails_to_load_is_named_with_the_reason(installed: Install, value: str) -> None:
    installed(("broken", value))
    with pytest.raises(ConfigError, match=f"--format broken: {value} can't be loaded: "):
        get_format("broken")


def test_a_name_that_two_packages_offer_is_an_error_that_names_both(installed: Install) -> None:
    installed(("abaw7", OURS), ("abaw7", "rival.formats:Theirs"))
    with pytest.raises(
        ConfigError, match=r"more than one package: abawkit\.formats\.editions:ABAW7 .*rival\.formats:Theirs"
    ):
        get_format("abaw7")


def test_one_package_found_twice_on_the_path_is_no_conflict(installed: Install) -> None:
    installed(("abaw7", OURS), ("abaw7", OURS))
    assert isinstance(get_format("abaw7"), ABAW7)
