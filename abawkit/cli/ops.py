"""``abawkit ops``, with its commands ``build``, ``check`` and ``bench``."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from abawkit.cli._command import App, command, print_json, print_message, refuse_ignored
from abawkit.cli._options import Json, complete_with
from abawkit.cli.ops_bench import bench
from abawkit.errors import ConfigError, OpUnavailableError, format_count, printable
from abawkit.execution import list_operator_names, refuse_device, refuse_operator

if TYPE_CHECKING:
    from abawkit.ops.availability import Serving, Survey


Operator = Annotated[
    Literal["dual_direction_attention", "mixed_block", "norm_prelu", "stem"] | None,
    typer.Argument(help="An operator; default: all."),
]


@command
def check(
    operator: Operator = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; default: the CPU and every GPU.")] = None,
    ops: Annotated[
        str | None,
        typer.Option(
            "--ops",
            help="Check this implementation alone.",
            autocompletion=complete_with(list_operator_names),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the results of every implementation with those of the reference, on the devices of this machine.

    Outputs, running statistics and gradients of small calls are compared with the reference in float64: all types, both
    memory formats, evaluation and training. A short form of this check runs by itself before an implementation serves
    its first call on a device. Exits with 4 where results differ by more than rounding.

    Example: abawkit ops check --device cuda
    """
    refuse_operator(ops)
    if device is not None:
        refuse_device(device)

    import torch

    from abawkit.models.inference import pick_device
    from abawkit.ops.availability import check_all, list_devices
    from abawkit.ops.operators import ATTENTION, OPERATORS
    from abawkit.ops.registry import list_implementations

    operators = [OPERATORS[operator]] if operator else list(OPERATORS.values())
    offers = [offer for each in operators for offer in list_implementations(each)]
    names = dict.fromkeys(offer.name for offer in offers if offer.implementation is not None)
    if ops is not None and ops not in names:
        raise OpUnavailableError(f"--ops {printable(ops)}: no such implementation; choose from {', '.join(names)}")
    chosen = list_devices()
    if device is not None:
        picked = pick_device(device)
        if picked.type == "cuda" and picked.index is None:
            picked = torch.device("cuda", torch.cuda.current_device())
        chosen = [picked]
    results = []
    for result in check_all(chosen, ops, operators):
        results.append(result)
        if not as_json:
            verdict, mode = "differs" if result.reason else "ok", "training" if result.training else "evaluation"
            share = f"{result.worst.excess:.2f} of the allowed error" if result.worst else "no result"
            other = "" if result.operator == ATTENTION.name else f" ({result.operator})"
            kind = f"{result.name}{other}, {result.device}, {result.dtype}, {mode}"
            print(printable(f"{verdict:<7} {kind}: {format_count(result.compared, 'tensor')}, at most {share}"))
    if as_json:
        print_json({"ok": not any(r.reason for r in results), "checks": [r.as_dict() for r in results]})
    if not results:
        raise ConfigError("nothing to check: only the reference serves these devices; `abawkit ops` says why")
    for result in results:
        if result.reason:
            print_message(f"{result.name}: {result.reason}")
    if any(result.reason for result in results):
        raise typer.Exit(OpUnavailableError.exit_code)


@command
def build(
    cuda: Annotated[
        Literal["auto", "require", "skip"] | None,
        typer.Option(
            "--cuda",
            help="CUDA kernels: where nvcc is found, an error without it, or none; default: require where torch can "
            "use a GPU.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, max=1024, help="Compilers at the same time; default: all processors.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compile even if the build that is there fits.")] = False,
    as_json: Json = False,
) -> None:
    """Compile the native operators for the torch and the GPUs of this machine.

    Run it after `pip install`, after an upgrade of torch or abawkit, and on another kind of machine. It needs a C++
    compiler (GCC 12 or later), and nvcc for GPUs. The build goes to ~/.cache/abawkit/native (or $XDG_CACHE_HOME), one
    for each version of torch; of it and the one that abawkit was installed with, the newer is used.

    Example: abawkit ops build
    """
    from abawkit.system.native_build import NotBuiltError, add_remedy
    from abawkit.system.native_cache import build_native, is_built, plan_build

    try:
        plan = plan_build(cuda)
        found = None if force else is_built(plan)
        if found is None:
            print_message(f"compiling native operators for {plan.words}; this takes a minute or more")
            build = build_native(plan, jobs=jobs)
        else:
            build = found
    except NotBuiltError as error:
        lines = str(error).split("\n")
        message = "\n".join([f"native operators can't be built: {add_remedy(lines[0])}", *lines[1:]])
        raise OpUnavailableError(message) from error
    if plan.options["ABAWKIT_CUDA"] == "auto" and not build.facts["cuda"]:
        print_message(f"warning: built without CUDA: {build.facts.get('cuda_refusal') or 'nvcc was not found'}")
    refused = _refusals()
    for device, reason in refused.items():
        if device == "cpu" or (plan.gpus and plan.options["ABAWKIT_CUDA"] != "skip"):
            raise OpUnavailableError(f"{build.folder}: this build does not serve {device}: {reason}")
        print_message(f"warning: {device} runs on the reference: {reason}")
    if as_json:
        print_json({"folder": str(build.folder), "built": found is None, "facts": build.facts})
        return
    kernels = (
        f"CUDA {build.facts['cuda']} for {build.facts['cuda_architectures']}" if build.facts["cuda"] else "no CUDA"
    )
    print(f"{'built' if found is None else 'there already'}: {build.facts['instruction_sets']}; {kernels}")
    print(f"{build.library}")


def _refusals() -> dict[str, str]:
    """Devices that the build does not serve, after its self-check, and why."""
    import torch

    from abawkit.ops.availability import list_devices
    from abawkit.ops.base import Call
    from abawkit.ops.registry import list_implementations
    from abawkit.ops.testing import DDAMFN_SIZES

    native = next(offer for offer in list_implementations() if offer.name == "native")
    calls = (Call(device, torch.float32, DDAMFN_SIZES, training=False, gradients=False) for device in list_devices())
    reasons = {str(call.device): native.reasons_for(call) for call in calls}
    return {device: "; ".join(found) for device, found in reasons.items() if found}


ops = App()
for _command in (build, check, bench):
    ops.command(no_args_is_help=False)(_command)


@ops.callback(invoke_without_command=True)
@command
def listing(context: typer.Context, as_json: Json = False) -> None:
    """Say which implementations of each operator run here, why not the others, and which one is chosen.

    The operators are dual-direction attention, the mixed block, batch norm with PReLU, and the stem.

    The choice is that of --ops, else of ABAWKIT_OPS in the environment, else the best that can serve a call.

    Example: abawkit ops
    """
    if context.invoked_subcommand is not None:
        refuse_ignored(context, "--json", as_json)
        return
    from abawkit.ops.availability import survey_operator
    from abawkit.ops.operators import OPERATORS

    first, *others = map(survey_operator, OPERATORS.values())
    if as_json:
        print_json(first.as_dict() | {"other_operators": [found.as_dict() for found in others]})
        return
    _show_survey(first)
    for found in others:
        print()
        _show_survey(found)


def _show_survey(found: "Survey") -> None:
    from abawkit.cli._output import show_table, stdout

    rows = [
        [offer.name, device, _types(found, offer.name, device, False), _types(found, offer.name, device, True)]
        for offer in found.offers
        for device in found.devices
    ]
    title = f"{found.operator.title}, {found.sizes.describe()}"
    show_table(title, ["", "device", "evaluation", "training"], rows, text_columns=4)
    console = stdout()
    for offer in found.offers:
        console.print(printable(f"{offer.name}: {offer.summary or 'not usable'} ({offer.package})"))
        for reason, where in _reasons(found.servings[offer.name]).items():
            console.print(printable(f"  does not serve {where}: {reason}"))
        for device, reasons in found.alone[offer.name].items():
            where = f"training with synchronised batch norms on {device}"
            console.print(printable(f"  does not serve {where}: {'; '.join(reasons)}"))
    for name, value in found.facts.items():
        if value:
            console.print(printable(f"native build, {name.replace('_', ' ')}: {value}"))
    console.print()
    if found.request:
        console.print(printable(f"requested by {found.request.source}; without it:"))
    for device in found.devices:
        console.print(printable(f"chosen on {device}: {_chosen(found, device)}"))


def _types(found: "Survey", name: str, device: str, training: bool) -> str:
    asked = [s for s in found.servings[name] if (s.device, s.training) == (device, training)]
    if not asked:
        return "-"
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
