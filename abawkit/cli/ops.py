"""``abawkit ops``; `build`, `check` and `bench` are its commands."""

from typing import TYPE_CHECKING

import typer

from abawkit.cli.command import command, print_json
from abawkit.cli.ops_bench import bench
from abawkit.cli.ops_build import build
from abawkit.cli.ops_check import check
from abawkit.cli.options import Json
from abawkit.cli.parsing import App, refuse_lost
from abawkit.errors import printable

if TYPE_CHECKING:
    from abawkit.ops.survey import Serving, Survey

ops = App()
for _command in (build, check, bench):
    ops.command(no_args_is_help=False)(_command)


@ops.callback(invoke_without_command=True)
@command
def listing(context: typer.Context, as_json: Json = False) -> None:
    """Say which implementations of dual-direction attention run here, why not the others, and which one is chosen.

    The choice is that of --ops, else of ABAWKIT_OPS in the environment, else the best that can serve a call.

    Example: abawkit ops
    """
    if context.invoked_subcommand is not None:
        refuse_lost(context, "--json", as_json)
        return
    from abawkit.ops.survey import survey

    found = survey()
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)


def _show(found: "Survey") -> None:
    from abawkit.cli.display import show_table, stdout

    c, h, w, k, _ = found.sizes
    rows = [
        [offer.name, device, _types(found, offer.name, device, False), _types(found, offer.name, device, True)]
        for offer in found.offers
        for device in found.devices
    ]
    title = f"Dual-direction attention, {c} x {h} x {w}, {k} heads"
    show_table(title, ["", "device", "evaluation", "training"], rows, text_columns=4)
    console = stdout()
    for offer in found.offers:
        console.print(printable(f"{offer.name}: {offer.summary or 'not usable'} ({offer.package})"))
        for reason, where in _reasons(found.servings[offer.name]).items():
            console.print(printable(f"  does not serve {where}: {reason}"))
    for name, value in found.facts.items():
        if value:
            console.print(printable(f"native build, {name.replace('_', ' ')}: {value}"))
    console.print()
    if found.wished:
        console.print(printable(f"ABAWKIT_OPS asks for {found.wished}; without it:"))
    for device in found.devices:
        console.print(printable(f"chosen on {device}: {_chosen(found, device)}"))


def _types(found: "Survey", name: str, device: str, training: bool) -> str:
    asked = [s for s in found.servings[name] if (s.device, s.training) == (device, training)]
    served = [s.dtype for s in asked if not s.reasons]
    return "all" if len(served) == len(asked) else " ".join(served) or "no"


def _reasons(servings: "list[Serving]") -> dict[str, str]:
    """Every reason once, with the calls that it stands against."""
    calls: dict[str, list[Serving]] = {}
    for serving in servings:
        if serving.reasons:
            calls.setdefault("; ".join(serving.reasons), []).append(serving)
    return {reason: _where(refused, servings) for reason, refused in calls.items()}


def _where(refused: "list[Serving]", servings: "list[Serving]") -> str:
    """The refused calls in words, whole devices and modes as one."""
    if len(refused) == len(servings):
        return "anything"
    words = []
    for device in dict.fromkeys(s.device for s in refused):
        here, asked = ([s for s in calls if s.device == device] for calls in (refused, servings))
        if len(here) == len(asked):
            words.append(f"on {device}")
            continue
        types = {training: [s.dtype for s in here if s.training == training] for training in (False, True)}
        if types[False] == types[True]:
            words.append(f"{', '.join(types[True])} on {device}")
            continue
        for training, refused_types in types.items():
            if refused_types:
                everything = len(refused_types) == sum(s.training == training for s in asked)
                of = "" if everything else f" of {', '.join(refused_types)}"
                words.append(f"{'training' if training else 'evaluation'}{of} on {device}")
    return ", ".join(words)


def _chosen(found: "Survey", device: str) -> str:
    """What the automatic choice takes on a device: one name, or what each is for."""
    calls: dict[str, dict[str, list[str]]] = {}
    for (where, dtype, training), name in found.automatic.items():
        if where == device:
            modes = calls.setdefault(name or "nothing", {}).setdefault(dtype, [])
            modes.append("training" if training else "evaluation")
    if len(calls) == 1:
        return next(iter(calls))
    words = {
        name: [dtype if len(modes) == 2 else f"{modes[0]} of {dtype}" for dtype, modes in types.items()]
        for name, types in calls.items()
    }
    return "; ".join(f"{name} for {', '.join(kinds)}" for name, kinds in words.items())
