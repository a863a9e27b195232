"""Shared by all commands: strict options, errors as a message and an exit code, warnings as lines on stderr."""

import functools
import inspect
import json
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final, ParamSpec, TextIO, TypeVar, cast

import typer
from typer.core import TyperCommand, TyperGroup

from abawkit.claims import hold_claims
from abawkit.cli._options import format_names
from abawkit.cli._streams import STDOUT, report_unwritten
from abawkit.errors import (
    AbawkitError,
    ConfigError,
    DataError,
    DataWarning,
    OpWarning,
    ProblemsError,
    StoppedError,
    printable,
)
from abawkit.system.signals import raise_on_signals

_Function = TypeVar("_Function", bound=Callable[..., None])

_NEEDS: Final = "option_needs"
_AS_JSON: Final = "abawkit.as_json"


def needs(option: str, other: str) -> Callable[[_Function], _Function]:
    """Has a command refuse an option that would do nothing, as another one is not given.

    Args:
        option: Name of the function's parameter.
        other: Names of the parameters of which one must be given, apart by ``|``; behind a ``!`` the name of the flag
            that must not be.
    """

    def note(function: _Function) -> _Function:
        setattr(function, _NEEDS, {**getattr(function, _NEEDS, {}), option: other})
        return function

    return note


class _PlainHelp:
    """Help whose paragraphs wrap to the terminal, and whose flags show no type."""

    help: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        """Options and arguments, with the option ``--help``."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for option in params:
            if getattr(option, "is_flag", False):
                option.display_type_rich = _show_no_type
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help page; line breaks of the docstring are not those of the page."""
        if self.help:
            self.help = "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(self.help).split("\n\n"))
        super().format_help(ctx, formatter)  # type: ignore[misc]


def _show_no_type(ctx: Any) -> None:
    """Does nothing: a flag takes no value, so it has no type to show."""


class Command(_PlainHelp, TyperCommand):
    """A command that refuses an option given twice, where the last value would win, and one that would do nothing."""

    def make_parser(self, ctx: Any) -> Any:
        """The parser of the command's arguments."""
        return _read_strictly(super().make_parser(ctx), self.params, ctx)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        for option, other in getattr(self.callback, _NEEDS, {}).items():
            _refuse_idle(self.params, ctx, option, other)
        return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help page, with the formats that are installed now."""
        for option in self.params:
            text = getattr(option, "help", None) or ""
            if "{formats}" in text:
                named: Any = option
                named.help = text.replace("{formats}", ", ".join(map(printable, format_names())))
        super().format_help(ctx, formatter)


class Group(_PlainHelp, TyperGroup):
    """A group of commands, whose own options are read like those of a `Command`.

    A wrong use is JSON on stdout too, where it is called with ``--json``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the group's own arguments."""
        if ctx.parent is None:
            ctx.meta[_AS_JSON] = "--json" in (args[: args.index("--")] if "--" in args else args)
        with _usage_errors_as_json(ctx):
            rest: list[str] = super().parse_args(ctx, args)
            return rest

    def invoke(self, ctx: Any) -> Any:
        """Runs a command of the group."""
        with _usage_errors_as_json(ctx):
            return super().invoke(ctx)

    def make_parser(self, ctx: Any) -> Any:
        """The parser of the group's own arguments."""
        return _read_strictly(super().make_parser(ctx), self.params, ctx)


@contextmanager
def _usage_errors_as_json(ctx: Any) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        message = getattr(error, "format_message", None)  # typer's usage errors; their class differs by its version
        if message and ctx.parent is None and ctx.meta[_AS_JSON]:
            print_json({"error": message(), "exit_code": getattr(error, "exit_code", ConfigError.exit_code)})
        raise


class App(typer.Typer):
    """A Typer app whose commands are each a `Command`."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(**{"cls": Group, "pretty_exceptions_enable": False, **settings})

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_Function], _Function]:
        """Registers a command."""
        registered: Any = super().command(name, **{"cls": Command, **settings})
        return cast("Callable[[_Function], _Function]", registered)


def refuse_ignored(context: typer.Context, option: str, given: bool) -> None:
    """Refuses an option of a group before one of its commands, which has its own and would ignore it.

    Raises:
        ConfigError: If it was given.
    """
    if given:
        raise ConfigError(f"{option}: give it behind `{context.invoked_subcommand}`, which has one of its own")


def _read_strictly(parser: Any, options: Sequence[Any], ctx: Any) -> Any:
    """Has a parser refuse what is given more than once, and an option that would be taken for another one's value.

    Options that take several values are declared as lists. A flag may be repeated, as it means the same, unless it has
    an opposite.
    """
    parse = parser.parse_args

    def parse_strictly(args: list[str]) -> tuple[dict[str, Any], list[str], Sequence[Any]]:
        if not ctx.resilient_parsing:  # a shell that completes gets no errors
            _refuse_swallowed(args, options, ctx)
        values, rest, order = parse(args)
        if not ctx.resilient_parsing:
            for option, count in Counter(order).items():
                if count > 1 and _takes_one(option):
                    ctx.fail(_describe_repetition(option, count))
        return values, rest, order

    parser.parse_args = parse_strictly
    return parser


def _refuse_swallowed(args: Sequence[str], options: Sequence[Any], ctx: Any) -> None:
    """Refuses ``--out --force``: a file of that name would be written, and nothing be forced."""
    names = {name: option for option in options for name in (*option.opts, *option.secondary_opts) if name[:1] == "-"}
    given = args[: args.index("--")] if "--" in args else args
    for name, value in pairwise(given):
        if name in names and not names[name].is_flag and value in names:
            ctx.fail(
                f"{name} has no value, as {value} is an option; what is really called so is given as {name}={value}"
            )


def _takes_one(option: Any) -> bool:
    if option.param_type_name != "option" or option.multiple or getattr(option, "count", False):
        return False
    return not option.is_flag or bool(option.secondary_opts)


def _describe_repetition(option: Any, count: int) -> str:
    times = "twice" if count == 2 else f"{count} times"
    return f"{_format_option(option)} is given {times}, and only one of them can count: give it once"


def _format_option(option: Any) -> str:
    return "/".join([*option.opts, *option.secondary_opts])


def _refuse_idle(options: Sequence[Any], ctx: Any, option: str, other: str) -> None:
    source = ctx.get_parameter_source(option)
    if source is None or source.name != "COMMANDLINE":
        return
    names = {parameter.name: _format_option(parameter) for parameter in options}
    if other.startswith("!") and ctx.params.get(other[1:]):
        ctx.fail(f"{names[option]} does nothing with {names[other[1:]]}: leave one of them out")
    if not other.startswith("!") and not any(ctx.params.get(name) for name in other.split("|")):
        needed = " or ".join(names[name] for name in other.split("|"))
        ctx.fail(f"{names[option]} does nothing without {needed}: give that too, or leave it out")


P = ParamSpec("P")

_SHOWN_WARNINGS = (DataWarning, OpWarning)


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Makes a function a command.

    `AbawkitError` ends it with its message on stderr and its exit code, an `OSError` with 3, both in JSON on stdout too
    where the command was called with ``--json``; Ctrl-C ends it with 130. A `DataWarning` or an `OpWarning` is a
    line on stderr. Anything else is a bug and keeps its traceback. SIGTERM and SIGHUP end it as Ctrl-C does, so that
    nothing half made is left; what the command claims (`abawkit.claims`) is held until it ends.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        with warnings.catch_warnings():
            for category in _SHOWN_WARNINGS:
                warnings.simplefilter("always", category)
            warnings.showwarning = _show_warning
            try:
                with raise_on_signals(), hold_claims():
                    function(*args, **kwargs)
            except AbawkitError as error:
                if kwargs.get("as_json"):
                    print_json(_make_error_record(error))
                print_message(str(error) if isinstance(error, StoppedError) else f"error: {error}")
                raise typer.Exit(error.exit_code) from error
            except BrokenPipeError:
                raise  # the reader of stdout has closed it: the command ends without a message
            except OSError as error:
                report_unwritten(error)
                if kwargs.get("as_json") and error.filename != STDOUT:
                    print_json({"error": str(error), "exit_code": DataError.exit_code})
                raise typer.Exit(DataError.exit_code) from error
            except KeyboardInterrupt as error:
                print_message("interrupted")
                raise typer.Exit(130) from error

    return wrapped


def print_json(content: Any) -> None:
    """Writes one JSON object on stdout."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_message(text: str) -> None:
    """Writes for a person, on stderr; what could disturb a terminal is escaped."""
    print("\n".join(printable(line) for line in text.split("\n")), file=sys.stderr)


def print_next_step(*words: object) -> None:
    """Names the command that comes next, on stderr, where that is a terminal; scripts see nothing of it."""
    if sys.stderr.isatty():
        print_message(f"next: {shlex.join(['abawkit', *map(str, words)])}")


def _make_error_record(error: AbawkitError) -> dict[str, Any]:
    content: dict[str, Any] = {"error": str(error), "exit_code": error.exit_code}
    if isinstance(error, ProblemsError):
        content["path"] = str(error.path)
        content["problems"] = [problem.as_dict() for problem in error.problems]
    return content


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del filename, lineno, file, line
    if issubclass(category, _SHOWN_WARNINGS):
        print_message(f"warning: {message}")
