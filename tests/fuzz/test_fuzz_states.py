"""States of runs: what a forged one holds is refused by name, or a run goes on with it; none of it is ever run."""

import io
import pickle
import pickletools
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from abawkit.errors import AbawkitError, DataError, DataWarning
from abawkit.run_names import CHECKPOINTS, STATE
from abawkit.training.checkpoint import Checkpoint, Position, find_newest_checkpoint
from abawkit.training.checkpoint_state import read_run_state
from abawkit.training.resume import check_same_run

pytestmark = pytest.mark.faults

PLACE = Position(1, 2)


@pytest.fixture
def checkpoint(base: Path, tmp_path: Path) -> Checkpoint:
    """A copy of a checkpoint whose digests are believed: what follows is about what a digest does not say."""
    folder = Path(shutil.copytree(base / CHECKPOINTS / PLACE.name, tmp_path / PLACE.name))
    return Checkpoint(folder, PLACE, {path.name: "" for path in folder.iterdir()})


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of any type, shape and kind."""
    dtype = draw(
        st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.complex64])
    )
    shape = draw(st.sampled_from([(), (0,), (4,), (624,), (5056,), (4, 1, 3, 3)]))
    number = draw(st.sampled_from([0, 1, 255, -1, float("nan")] if dtype.is_floating_point else [0, 1, 255]))
    value = torch.full(shape, number, dtype=dtype)
    kind = draw(st.sampled_from(["plain", "plain", "wide", "meta", "sparse", "parameter"]))
    if kind == "wide":
        return torch.zeros((), dtype=dtype).expand(10**6, 10**6)
    if kind == "meta":
        return value.to("meta")
    if kind == "sparse" and value.ndim == 1:
        return value.to_sparse()
    return torch.nn.Parameter(value) if kind == "parameter" and value.is_floating_point() else value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def test_a_forged_state_is_refused_or_a_run_goes_on_with_it(
    fuzz: Callable[..., None],
    checkpoint: Checkpoint,
    forged: Callable[..., Any],
    scalars: Any,
    tiny: Callable[[Path], Any],
    notes: dict[str, Any],
    tmp_path: Path,
) -> None:
    whole = checkpoint.state()
    plain = scalars | tensors() | st.binary(max_size=4) | st.builds(endless)
    values = st.recursive(
        plain, lambda v: st.lists(v, max_size=3) | st.tuples(v, v) | st.dictionaries(scalars, v, max_size=2)
    )

    def check(state: Any) -> str:
        torch.save(state, checkpoint.folder / STATE)
        try:
            found = read_run_state(checkpoint)
        except DataError:
            return "refused"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                check_same_run(found, notes, True, tmp_path)
            loop = tiny(tmp_path)
            loop.restore(checkpoint, found)
            loop.learner.begin_epoch(loop.plan[PLACE.epoch], fresh=False)
        except AbawkitError:
            return "not this run"
        for parameter in loop.learner.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        loop.learner.stage.optimizer.step()
        loop.progress.end_epoch()
        loop.learner.average.update()
        shutil.rmtree(tmp_path / CHECKPOINTS, ignore_errors=True)
        loop.save()
        loop.finish_save()
        again, _ = find_newest_checkpoint(tmp_path)
        assert again
        assert read_run_state(again)["progress"]["place"] == [PLACE.epoch + 1, 0]
        return "goes on"

    parts = [forged(whole[key], values).map(lambda part, key=key: {**whole, key: part}) for key in whole]
    groups, numbers = whole["optimizer"]["param_groups"], forged(whole["optimizer"]["state"], tensors())
    optimizers = numbers.map(lambda state: {**whole, "optimizer": {"state": state, "param_groups": groups}})
    outcomes = ("refused", "not this run", "goes on")
    fuzz(check, st.one_of(forged(whole, values), *parts, optimizers, optimizers), outcomes=outcomes, examples=300)


CALLS = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "open"),
    ("pathlib", "Path.touch"),
    ("torch.serialization", "os.system"),
    ("torch", "serialization.os.mkdir"),
    ("posix", "mkdir"),
    ("os", "mkdir"),
    ("subprocess", "check_output"),
    ("torch.storage", "os.mkdir"),
    ("numpy", "save"),
    ("shutil", "copytree"),
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("_codecs", "encode"),
    ("builtins", "set"),
    ("builtins", "getattr"),
    ("nowhere", "nothing"),
]


def called(module: str, name: str, arguments: list[str], how: str) -> bytes:
    """Opcodes that leave what a call returns on the stack."""
    texts = [b"X" + len(text.encode()).to_bytes(4, "little") + text.encode() for text in (module, name, *arguments)]
    pushed = b"".join(texts[2:])
    if how == "instance":
        return b"(" + pushed + f"i{module}\n{name}\n".encode()
    if how == "object":
        return f"(c{module}\n{name}\n".encode() + pushed + b"o"
    function = b"".join(texts[:2]) + b"\x93" if how == "stack" else f"c{module}\n{name}\n".encode()
    return function + b"(" + pushed + b"t" + {"new": b"\x81", "build": b"b"}.get(how, b"R")


@st.composite
def pickles(draw: st.DrawFn, content: bytes, proof: str) -> bytes:
    """A pickle of a dict, with calls between its own opcodes or in one more item of the dict."""
    starts = [position for _, _, position in pickletools.genops(content) if position is not None]
    texts = [proof, f"touch {proof}", f"open({proof!r}, 'w')", "r"]
    for _ in range(draw(st.integers(1, 2))):
        arguments = draw(st.lists(st.sampled_from(texts), max_size=3))
        how = draw(st.sampled_from(["reduce", "reduce", "stack", "instance", "object", "new", "build"]))
        call = called(*draw(st.sampled_from(CALLS)), arguments, how)
        if draw(st.booleans()):
            content = content[:-1] + b"X\1\0\0\0x" + call + b"s."
        else:
            at = draw(st.sampled_from([*starts[1:20], *starts[-20:]]))
            content = content[:at] + call + b"0" + content[at:]
    if draw(st.integers(0, 3)) == 0:
        i = draw(st.integers(0, len(content) - 1))
        content = content[:i] + draw(st.binary(min_size=1, max_size=2)) + content[i + 1 :]
    return content


def test_these_calls_would_leave_their_proof(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    for how in ("reduce", "stack", "instance", "object"):
        pickle.loads(called("os", "system", [f"touch {proof}"], how) + b".")  # noqa: S301 - that is the point
        proof.unlink()


def test_what_would_run_code_is_refused_and_not_run(
    fuzz: Callable[..., None], checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path, proof = checkpoint.folder / STATE, tmp_path / "proof"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    inside = pickles(parts[name], str(proof))
    alone = pickles(pickle.dumps({"recipe": "", "progress": {}}, protocol=2), str(proof))

    def check(given: tuple[bool, bytes]) -> str:
        archived, content = given
        if archived:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for part, text in {**parts, name: content}.items():
                    archive.writestr(part, text)
            content = buffer.getvalue()
        path.write_bytes(content)
        try:
            read_run_state(checkpoint)
            return "harmless"
        except DataError as error:
            return "refused" if "Nothing in it was run" in str(error) else "no state"
        finally:
            assert not proof.exists()

    inputs = st.tuples(st.just(True), inside) | st.tuples(st.just(False), alone)
    fuzz(check, inputs, outcomes=("refused",), examples=200)
