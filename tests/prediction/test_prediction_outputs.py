"""The files of a prediction: three names, and probabilities that read back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.prediction.outputs import outputs, read_probabilities
from abawkit.tables import Array


@pytest.mark.parametrize("name", ["predictions.txt", "predictions", "p.csv"])
def test_probabilities_and_manifest_lie_beside_the_submission(name: str) -> None:
    out, npz, manifest = outputs(Path("runs") / name)
    assert out == Path("runs") / name
    assert (npz.name, manifest.name) == (f"{out.stem}.npz", f"{out.stem}.json")


@pytest.mark.parametrize("name", ["p.npz", "p.json"])
def test_a_submission_that_would_be_overwritten_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"\.npz and \.json are kept"):
        outputs(Path(name))


def content() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    expression = rng.dirichlet(np.ones(8), 3).astype(np.float32)
    return {
        "images": np.array(["v/00001.jpg", "v/00001.jpg", "é/00002.jpg"]),
        "va": rng.uniform(-1, 1, (3, 2)).astype(np.float32),
        "expression": expression,
        "au": rng.uniform(0, 1, (3, 12)).astype(np.float32),
    }


def test_probabilities_read_back_bit_for_bit(tmp_path: Path) -> None:
    columns = content()
    np.savez_compressed(tmp_path / "p.npz", **columns, allow_pickle=False)
    found = read_probabilities(tmp_path / "p.npz")
    assert found.images.equals(pa.array(columns["images"].tolist()))
    assert all(np.array_equal(getattr(found, name), columns[name]) for name in ("va", "expression", "au"))


def saved(tmp_path: Path, **changes: Array) -> bytes:
    np.savez_compressed(tmp_path / "good.npz", **{**content(), **changes}, allow_pickle=False)
    return (tmp_path / "good.npz").read_bytes()


@pytest.mark.parametrize(
    "fault", ["empty", "text", "truncated", "damaged", "array", "absent", "nan", "short", "double"]
)
def test_a_file_that_does_not_hold_probabilities_is_refused_by_name(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    columns = content()
    whole = saved(tmp_path)
    start = whole.index(b"va.npy") + 40
    match fault:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("image,valence,arousal,expression,aus\n")
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "damaged":
            path.write_bytes(whole[:start] + bytes(b ^ 255 for b in whole[start : start + 40]) + whole[start + 40 :])
        case "array":
            with path.open("wb") as file:
                np.save(file, columns["va"])
        case "nan":
            path.write_bytes(saved(tmp_path, va=np.full((3, 2), np.nan, np.float32)))
        case "short":
            path.write_bytes(saved(tmp_path, au=columns["au"][:2]))
        case "double":
            path.write_bytes(saved(tmp_path, au=columns["au"].astype(np.float64)))
    with pytest.raises(DataError, match=r"p\.npz: does not hold probabilities"):
        read_probabilities(path)
