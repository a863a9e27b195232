"""``abawkit ops check``."""

from typing import Annotated

import typer

from abawkit.cli.command import command, print_json, say
from abawkit.cli.options import Json, completing, refuse_device, refuse_operator, registered_names
from abawkit.errors import ConfigError, OpUnavailableError, format_count, printable


@command
def check(
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; default: the CPU and every GPU.")] = None,
    ops: Annotated[
        str | None,
        typer.Option(
            "--ops",
            help="Check this implementation alone.",
            autocompletion=completing(lambda: registered_names("abawkit.ops")),
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
    from abawkit.ops.registry import implementations
    from abawkit.ops.survey import check_all, devices

    names = [offer.name for offer in implementations() if offer.implementation is not None]
    if ops is not None and ops not in names:
        raise OpUnavailableError(f"--ops {printable(ops)}: no such implementation; choose from {', '.join(names)}")
    chosen = devices()
    if device is not None:
        picked = pick_device(device)
        if picked.type == "cuda" and picked.index is None:
            picked = torch.device("cuda", torch.cuda.current_device())
        chosen = [picked]
    results = []
    for result in check_all(chosen, ops):
        results.append(result)
        if not as_json:
            verdict, mode = "differs" if result.reason else "ok", "training" if result.training else "evaluation"
            share = f"{result.worst.excess:.2f} of the allowed error" if result.worst else "no result"
            kind = f"{result.name}, {result.device}, {result.dtype}, {mode}"
            print(printable(f"{verdict:<7} {kind}: {format_count(result.compared, 'tensor')}, at most {share}"))
    if as_json:
        print_json({"ok": not any(r.reason for r in results), "checks": [r.as_dict() for r in results]})
    if not results:
        raise ConfigError("nothing to check: only the reference serves these devices; `abawkit ops` says why")
    for result in results:
        if result.reason:
            say(f"{result.name}: {result.reason}")
    if any(result.reason for result in results):
        raise typer.Exit(OpUnavailableError.exit_code)
