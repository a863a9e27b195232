"""``abawkit export``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from abawkit.choices import ExportForm
from abawkit.cli._command import command, print_json
from abawkit.cli._options import Force, Json
from abawkit.errors import ConfigError, printable


@command
def export(
    source: Annotated[Path, typer.Argument(help="Run folder (its best epoch is taken) or file of weights.")],
    form: Annotated[ExportForm, typer.Option("--to", help="A program of torch.export, or ONNX.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, as network.pt2 or network.onnx.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a trained network as one file that runs without abawkit, in PyTorch or in ONNX Runtime.

    It takes frames, RGB (N, 3, S, S) of type uint8 with any N, and normalises them itself. For each task that the
    network was trained for it returns, by name: va (N, 2) in -1..1, expression (N, 8) and au (N, 12), probabilities.
    Rules, smoothing and the mean of several networks are not part of it.

    The file is loaded and compared with the network before it is kept; values that differ by more than 1e-5 are an
    error. --to onnx needs the extra: pip install 'abawkit[onnx]'.

    Example: abawkit export runs/a --to onnx --out network.onnx
    """
    from abawkit.claims import claim_file
    from abawkit.inspection.output_kinds import EXPORTED_NETWORK
    from abawkit.prediction.sources import refuse_absent_networks

    if form == "onnx":
        _refuse_missing_packages()
    claim_file(out, force=force, kind=EXPORTED_NETWORK, inputs=[source])
    refuse_absent_networks([source])

    import torch

    import abawkit
    from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
    from abawkit.models.config import name_network
    from abawkit.models.export import ALLOWED, INPUT, OPSET, export_network
    from abawkit.models.network import DDAMFN
    from abawkit.prediction.networks import load_members
    from abawkit.system.files import write_bytes

    (member,) = load_members([source], torch.device("cpu"), ())
    network = member.network
    if not isinstance(network, DDAMFN):
        raise ConfigError(f"{member.path}: is a sequence network; only networks that see frames are exported")
    side, columns = network.config.resolution, {"va": DIMENSIONS, "expression": EXPRESSIONS, "au": ACTION_UNITS}
    notes = {
        "format": "abawkit.export.1",
        "abawkit": abawkit.__version__,
        "torch": torch.__version__,
        "network": name_network(network.config),
        "digest": member.digest,
        "size": side,
        "tasks": list(member.tasks),
        "input": f"{INPUT}: uint8 (N, 3, {side}, {side}), RGB",
        "columns": {task: list(columns[task]) for task in member.tasks},
    }
    exported = export_network(network, member.tasks, form, notes, str(member.path))
    write_bytes(out, exported.content)
    if as_json:
        facts = {"opset": OPSET if form == "onnx" else None, "difference": exported.difference, "allowed": ALLOWED}
        print_json({"out": str(out), "to": form, "source": str(member.path), **notes, **facts})
        return
    kind = f"ONNX, opset {OPSET}" if form == "onnx" else f"a program of torch.export, torch {torch.__version__}"
    outputs = ", ".join(f"{task} (N, {len(columns[task])})" for task in member.tasks)
    print(printable(f"{out}: {kind}; weights of {member.path}, digest {member.digest[:12]}"))
    print(f"in: {notes['input']}; out: {outputs}")
    print(f"compared with the network: values differ by at most {exported.difference:.1e} (allowed: {ALLOWED:.0e})")


def _refuse_missing_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--to onnx: {', '.join(missing)} is not installed; pip install 'abawkit[onnx]', or use --to torch"
        )
