"""``abawkit ops build``."""

from typing import Annotated, Literal

import typer

from abawkit.cli.command import command, print_json, say
from abawkit.cli.options import Json
from abawkit.errors import OpUnavailableError


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
    from abawkit.native_build import NotBuiltError, add_remedy
    from abawkit.native_cache import build_native, is_built, plan_build

    try:
        plan = plan_build(cuda)
        found = None if force else is_built(plan)
        if found is None:
            say(f"compiling native operators for {plan.words}; this takes a minute or more")
            build = build_native(plan, jobs=jobs)
        else:
            build = found
    except NotBuiltError as error:
        lines = str(error).split("\n")
        message = "\n".join([f"native operators can't be built: {add_remedy(lines[0])}", *lines[1:]])
        raise OpUnavailableError(message) from error
    if plan.options["ABAWKIT_CUDA"] == "auto" and not build.facts["cuda"]:
        say(f"warning: built without CUDA: {build.facts.get('cuda_refusal') or 'nvcc was not found'}")
    refused = _refusals()
    for device, reason in refused.items():
        if device == "cpu" or (plan.gpus and plan.options["ABAWKIT_CUDA"] != "skip"):
            raise OpUnavailableError(f"{build.folder}: this build does not serve {device}: {reason}")
        say(f"warning: {device} runs on the reference: {reason}")
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

    from abawkit.ops.base import Call
    from abawkit.ops.examples import DDAMFN_SIZES
    from abawkit.ops.registry import implementations
    from abawkit.ops.survey import devices

    native = next(offer for offer in implementations() if offer.name == "native")
    calls = (Call(device, torch.float32, DDAMFN_SIZES, training=False, gradients=False) for device in devices())
    reasons = {str(call.device): native.reasons_for(call) for call in calls}
    return {device: "; ".join(found) for device, found in reasons.items() if found}
