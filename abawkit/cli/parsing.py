"""How every command reads its options: one that takes one value is given once, and help lists what may be given."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from abawkit.cli.options import format_names
from abawkit.errors import ConfigError, printable


class Command(TyperCommand):
    """A command that refuses an option given twice, where the last value would win without a word."""

    def make_parser(self, ctx: Any) -> Any:
        """The parser of the command's arguments."""
        return _refuse_repeats(super().make_parser(ctx), ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help page, with the formats that are installed now."""
        for option in self.params:
            text = getattr(option, "help", None) or ""
            if "{formats}" in text:
                option.help = text.replace("{formats}", ", ".join(map(printable, format_names())))
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands, whose own options are read like those of a `Command`."""

    def make_parser(self, ctx: Any) -> Any:
        """The parser of the group's own arguments."""
        return _refuse_repeats(super().make_parser(ctx), ctx)


class App(typer.Typer):
    """A Typer app whose commands are each a `Command`."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(cls=Group, pretty_exceptions_enable=False, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Registers a command."""
        return super().command(name, **{"cls": Command, **settings})


def refuse_lost(context: typer.Context, option: str, given: bool) -> None:
    """Refuses an option of a group that stands before one of its commands, which has its own and would not see it.

    Raises:
        ConfigError: If it was given.
    """
    if given:
        raise ConfigError(f"{option}: give it behind `{context.invoked_subcommand}`, which has one of its own")


def _refuse_repeats(parser: Any, ctx: Any) -> Any:
    """Has a parser refuse what is given more than once.

    Options that take several values are declared as lists. A flag may be repeated, as it means the same, unless it has
    an opposite.
    """
    parse = parser.parse_args

    def parse_once(args: list[str]) -> tuple[dict[str, Any], list[str], Sequence[Any]]:
        values, rest, order = parse(args)
        if not ctx.resilient_parsing:  # a shell that completes is told nothing
            for option, count in Counter(order).items():
                if count > 1 and _takes_one(option):
                    ctx.fail(_message(option, count))
        return values, rest, order

    parser.parse_args = parse_once
    return parser


def _takes_one(option: Any) -> bool:
    if option.param_type_name != "option" or option.multiple or getattr(option, "count", False):
        return False
    return not option.is_flag or bool(option.secondary_opts)


def _message(option: Any, count: int) -> str:
    names = "/".join([*option.opts, *option.secondary_opts])
    times = "twice" if count == 2 else f"{count} times"
    return f"{names} is given {times}, and only one of them can count: give it once"
