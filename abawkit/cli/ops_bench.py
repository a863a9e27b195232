"""``abawkit ops bench``."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Json, Threads
from abawkit.errors import printable
from abawkit.execution import cpu_threads, refuse_device

if TYPE_CHECKING:
    from abawkit.ops.bench import Bench, Mode

IMAGES = (1, 8, 32, 64, 256)


class _Mode(StrEnum):
    EVALUATION = "evaluation"
    TRAINING = "training"
    BOTH = "both"


class _Type(StrEnum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT64 = "float64"


@command
def bench(
    images: Annotated[
        list[int] | None, typer.Option("--images", min=1, help="Images at once; repeatable; default 1 8 32 64 256.")
    ] = None,
    mode: Annotated[_Mode, typer.Option(help="What to measure.")] = _Mode.BOTH,
    dtype: Annotated[_Type, typer.Option(help="Of features and parameters.")] = _Type.FLOAT32,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "cpu",
    threads: Threads = None,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; their median counts.")] = 7,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Features in this memory format.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compare with torch.compile of the reference too.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Measure every implementation that can serve, against the reference and against torch.compile of it.

    Each figure is a ratio of medians from interleaved rounds in this process: how many times faster. "x read" is the
    rate at which features are read, against the rate at which the same threads sum them (on a GPU: copy them);
    "kept" is what is kept for backward beside features and parameters, as a share of the reference's. On a GPU no
    features are left in its cache from call to call, and "kernel ms" is the time of the kernels alone, by the profiler.

    Example: abawkit ops bench --images 1 --images 64 --mode evaluation
    """
    refuse_device(device)

    import torch

    from abawkit.models.inference import pick_device
    from abawkit.ops.bench import MODES
    from abawkit.ops.bench import bench as run

    target = pick_device(device)
    if target.type == "cuda" and target.index is None:
        target = torch.device("cuda", torch.cuda.current_device())
    modes: list[Mode] = [name for name in MODES if mode in (name, _Mode.BOTH)]
    with cpu_threads(threads):
        result = run(
            images or IMAGES,
            modes,
            dtype=getattr(torch, dtype.value),
            device=target,
            rounds=rounds,
            channels_last=channels_last,
            compiled=compiled,
            say=print_message,
        )
    if as_json:
        print_json(result.as_dict())
    else:
        _show(result)


def _show(result: "Bench") -> None:
    from abawkit.cli._output import show_table, stdout

    console = stdout()
    plural = "s" if result.threads > 1 else ""
    console.print(
        printable(f"{result.dtype} on {result.device}, {result.threads} thread{plural}, torch {result.torch}"),
        soft_wrap=True,
    )
    for work in dict.fromkeys(m.work for m in result.measured):
        here = [m for m in result.measured if m.work == work]
        names = list(dict.fromkeys(name for m in here for name in ("reference", *m.names)))
        columns = {
            "N": [f"{m.images:,}" for m in here for _ in names],
            "": [name for _ in here for name in names],
            "ms": [f"{m.milliseconds[name]:.3f}" for m in here for name in names],
            "kernel ms": [_text(m.kernels.get(name), ".3f") for m in here for name in names],
            "x eager": [f"{m.to_eager(name):.1f}" for m in here for name in names],
            "x compile": [_text(m.to_compiled(name), ".1f") for m in here for name in names],
            "x read": [_text(m.of_stream(name, copied=result.device != "cpu"), ".2g") for m in here for name in names],
            "kernel x read": [_text(m.kernels_of_stream(name), ".2g") for m in here for name in names],
            "kept": [_text(m.of_saved(name), ".2f") for m in here for name in names],
        }
        shown = {head: cells for head, cells in columns.items() if any(cells)}
        show_table(work, list(shown), list(zip(*shown.values(), strict=True)), text_columns=2)
    for what, reason in result.left_out.items():
        print_message(f"not measured: {what}: {reason}")


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
