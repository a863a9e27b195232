"""What is wrong with the input is said at once, not when torch has been imported, which takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import contextlib, io, json, sys
sys.modules["torch"] = sys.modules["onnxruntime"] = None  # importing them is an error
from abawkit.cli import app
found = []
for arguments in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            app(arguments, prog_name="abawkit")
        except SystemExit as end:
            found.append([end.code, said.getvalue()])
        except BaseException as error:
            found.append([1, repr(error)])
print(json.dumps(found))
"""

LIST = "--list {release}/test_set_examples/MTL.txt --frames {release}/test_data/cropped_aligned"

CASES = {
    "train absent --data {curated} --out new": (2, "absent: can't read this recipe"),
    "train demo --data absent --out new": (3, "absent: holds no curated set"),
    "train demo --data {curated} --out full": (2, "full: is not empty"),
    "train demo --data {curated} --out full --force": (2, "holds 'thing', so it is not a run"),
    "train demo --data {curated} --out file": (2, "file: is a file"),
    "train demo --data {curated} --out new --weights absent": (3, "absent: no such file"),
    "train demo --data {curated} --out new --frames absent": (3, "absent: no such folder"),
    "train demo --data {curated} --out new --set a.b=1": (2, "unknown key"),
    "train demo --data {curated} --out new --ops absent": (4, "no installed package offers this implementation"),
    "train demo --data {curated} --out new --log absent": (2, "expected one of tensorboard"),
    "train demo --data {curated} --dry-run --weights absent": (3, "absent: no such file"),
    "train --resume --out absent": (2, "give a recipe"),
    f"predict absent {LIST} --out p.txt": (3, "absent: no such file or folder"),
    f"predict full {LIST} --out p.txt": (3, "this folder holds no best.safetensors"),
    f"predict file {LIST} --out file": (2, "would replace what is read from file"),
    f"predict file {LIST} --out other": (2, "other: exists already"),
    f"predict file {LIST} --out absent/p.txt": (2, "absent: no such folder"),
    f"predict file {LIST} --out p.txt --format absent": (2, "unknown format"),
    f"predict file {LIST} --out p.txt --rule absent": (3, "absent: can't be read"),
    f"predict file {LIST} --out p.txt --ops absent": (4, "no installed package offers this implementation"),
    f"predict file {LIST} --out p.txt --device tpu": (2, "device 'tpu' can't be used here"),
    "predict file --list absent --frames full --out p.txt": (3, "absent: no such file"),
    "predict file --list {release}/test_set_examples/MTL.txt --frames absent --out p.txt": (
        3,
        "absent: no such folder",
    ),
    "predict file --split validation --data absent --out p.txt": (3, "absent: holds no curated set"),
    "export absent --to torch --out n.pt2": (3, "absent: no such file or folder"),
    "export full --to torch --out n.pt2": (3, "this folder holds no best.safetensors"),
    "export file --to torch --out other": (2, "other: exists already"),
    "export file --to torch --out other --force": (2, "is no network that abawkit exported"),
    "export file --to torch --out file --force": (2, "would replace what is read from file"),
    "export file --to tflite --out n": (2, "'tflite' is not one of 'torch', 'onnx'"),
    "export file --to onnx --out n": (2, "onnxruntime is not installed; pip install 'abawkit[onnx]'"),
    "features absent --data {curated} --out new": (3, "absent: no such file or folder"),
    "features full --data {curated} --out new": (3, "this folder holds no best.safetensors"),
    "features file --data absent --out new": (3, "absent: holds no curated set"),
    "features file --data {curated} --out full": (2, "full: is not empty"),
    "features file --data {curated} --out full --force": (2, "holds 'thing', so it is not a store of features"),
    "features file --data {curated} --out other": (2, "other: is a file"),
    "features file --out new": (2, "give --data for the frames of a curated set"),
    f"features file --data {{curated}} {LIST} --out new": (2, "give --data for the frames of a curated set"),
    "features file --data {curated} --out new --follow-links": (2, "--follow-links goes with --frames"),
    "features file --list absent --frames full --out new": (3, "absent: no such file"),
    "features file --data {curated} --out new --ops absent": (4, "no installed package offers this implementation"),
    "features file --data {curated} --out new --device tpu": (2, "device 'tpu' can't be used here"),
    "features import absent --data {curated} --out new": (3, "absent: no such file or folder"),
    "features import file --data {curated} --out new": (3, "file: has another ending"),
    "features import file --data absent --out new": (3, "absent: holds no curated set"),
    "features import file --data {curated} --out full": (2, "full: is not empty"),
    "features import file --list absent --out new": (3, "absent: no such file"),
    "import-weights absent --out w.safetensors": (3, "absent: no such file"),
    "import-weights file --out other": (2, "other: exists already"),
    f"submit absent --data {{curated}} {LIST}": (2, "absent: no such folder"),
    f"submit full --data {{curated}} {LIST}": (2, "can't read this recipe"),
    "ablate absent --out new": (3, "absent: no such folder"),
    "ablate --recipe absent --out new": (2, "absent: can't read this recipe"),
    "ablate --weights absent --out new": (3, "absent: no such file"),
    "ablate --out full": (2, "full: is not empty"),
    "demo --out full": (2, "full: is not empty"),
    "inspect absent": (3, "absent: no such file or folder"),
    "ops bench --device tpu": (2, "device 'tpu' can't be used here"),
    "ops check --ops absent": (4, "no installed package offers this implementation"),
}


@pytest.fixture(scope="module")
def said(release: Path, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """The exit code and the message of each case, from one process, as Python takes longer to start than they do."""
    here = tmp_path_factory.mktemp("wrong")
    (here / "full").mkdir()
    for name in ("full/thing", "file", "other"):
        (here / name).write_text("x")
    cases = [case.format(release=release, curated=curated).split() for case in CASES]
    environment = {**os.environ, "COLUMNS": "500"}
    command = [sys.executable, "-c", CODE]
    result = subprocess.run(
        command, input=json.dumps(cases), capture_output=True, text=True, cwd=here, env=environment, check=True
    )
    assert sorted(entry.name for entry in here.iterdir()) == ["file", "full", "other"]
    return {case: (code, text) for case, (code, text) in zip(CASES, json.loads(result.stdout), strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_named_without_torch(said: dict[str, tuple[int, str]], case: str) -> None:
    code, text = said[case]
    assert CASES[case][1] in " ".join(text.split())
    assert code == CASES[case][0]


@pytest.mark.parametrize(
    "command",
    [
        "predict {run} --split validation --data {curated} --out out.txt",
        "train demo --data {curated} --out run --set all.epochs=1 --set batch_size=64",
    ],
)
def test_networks_are_used_and_trained_without_what_compiles_them(
    runs: list[Path], curated: Path, tmp_path: Path, command: str
) -> None:
    """To import dynamo takes as long as to import the rest of torch."""
    code = 'import sys; sys.modules["torch._dynamo"] = None; from abawkit.cli import main; main()'
    words = command.format(run=runs[0], curated=curated).split()
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 0, result.stderr
