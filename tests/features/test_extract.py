"""Extraction with a small network: the numbers are those that prediction computes, in the order of the table."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from abawkit.curation.curated_set import open_curated
from abawkit.errors import DataError, DataWarning
from abawkit.features.extract import extract_rows
from abawkit.features.extractors import FeatureSource, load_network_source, prepare_frames
from abawkit.features.frame_rows import CuratedRows, ListedRows
from abawkit.features.store import FeatureStore
from abawkit.features.store_writer import StoreWriter
from abawkit.frames.augmentation import MEAN, STD, Colour
from abawkit.models.config import NETWORKS
from abawkit.models.inference import infer
from abawkit.models.network import DDAMFN
from abawkit.models.weights import save_weights
from abawkit.tables import Array
from abawkit.training.distributed import ALONE

CPU = torch.device("cpu")

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def network() -> DDAMFN:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return DDAMFN(NETWORKS["ddamfn-nano"]).eval()


@pytest.fixture
def save(network: DDAMFN, tmp_path: Path) -> Save:
    def write(*absent: str) -> Path:
        state = {key: value for key, value in network.state_dict().items() if not key.startswith(absent or "none")}
        save_weights(tmp_path / "w.safetensors", network.config, state)
        return tmp_path / "w.safetensors"

    return write


@pytest.fixture
def source(save: Save) -> FeatureSource:
    return load_network_source(save(), CPU)


@pytest.fixture(scope="module")
def rows(curated: Path) -> CuratedRows:
    return CuratedRows(open_curated(curated))


def begin(out: Path, rows: Any, dimension: int, *, dtype: Any = "float32", mirrored: bool = False) -> StoreWriter:
    notes: Any = {"source": {}, "frames": rows.describe(), "preprocessing": {}, "versions": {}}
    return StoreWriter(out, rows.names, dimension, dtype, mirrored=mirrored, **notes)


def extract(source: FeatureSource, rows: Any, out: Path, *, batch: int = 32, **options: Any) -> FeatureStore:
    writer = begin(out, rows, source.extractor.dimension, **options)
    mirrored = writer.manifest.mirrored
    extract_rows(source.extractor, rows, writer, CPU, batch=batch, mirrored=mirrored, processes=ALONE)
    return writer.finish()


def test_the_heads_on_stored_features_give_what_prediction_gives(
    network: DDAMFN, source: FeatureSource, rows: CuratedRows, tmp_path: Path
) -> None:
    store = extract(source, rows, tmp_path / "out")
    assert store.values.shape == (len(rows.names), network.config.embedding)
    pixels = np.concatenate(list(rows.read(0, 32)))
    expected = infer(network, pixels, CPU)
    with torch.inference_mode():
        outputs = network.classify(torch.from_numpy(np.array(store.values)))
    assert np.array_equal(outputs.va.numpy(), expected.va)
    np.testing.assert_allclose(outputs.expression.softmax(1).numpy(), expected.expression, atol=1e-6)
    np.testing.assert_allclose(outputs.au.sigmoid().numpy(), expected.au, atol=1e-6)


def test_rows_are_those_of_training_then_of_validation_and_repeats_are_equal(
    source: FeatureSource, rows: CuratedRows, curated: Path, tmp_path: Path
) -> None:
    store = extract(source, rows, tmp_path / "out", dtype="float16")
    splits = open_curated(curated).splits
    names = [splits[split].annotations.images.to_pylist() for split in ("train", "validation")]
    assert list(store.names) == names[0] + names[1]
    for each in names:
        assert [store.names[row] for row in store.select(each)] == each
    first = {name: row for row, name in reversed(list(enumerate(store.names)))}
    repeats = [row for row, name in enumerate(store.names) if first[name] != row]
    assert repeats
    for row in repeats:
        assert np.array_equal(store.values[row], store.values[first[store.names[row]]])


def test_mirrored_features_are_those_of_mirrored_frames(
    source: FeatureSource, rows: CuratedRows, tmp_path: Path
) -> None:
    class Mirrored(CuratedRows):
        def read(self, start: int, size: int, part: tuple[int, int] = (0, 1)) -> Iterator[Array]:
            return (pixels[:, :, ::-1] for pixels in super().read(start, size, part))

    store = extract(source, rows, tmp_path / "a", mirrored=True)
    expected = extract(source, Mirrored(rows.curated), tmp_path / "b")
    assert np.array_equal(store.mirrored, expected.values)  # type: ignore[arg-type]
    assert not np.array_equal(store.values, expected.values)


def test_a_list_gives_what_the_curated_set_gives(
    source: FeatureSource, rows: CuratedRows, release: Path, tmp_path: Path
) -> None:
    listed = ListedRows(None, release / "cropped_aligned", rows.names)
    store = extract(source, listed, tmp_path / "a", batch=20)
    assert np.array_equal(store.values, extract(source, rows, tmp_path / "b", batch=20).values)


@pytest.mark.parametrize("batch", [1, 7])
def test_another_batch_differs_by_rounding_alone(
    source: FeatureSource, rows: CuratedRows, tmp_path: Path, batch: int
) -> None:
    store = extract(source, rows, tmp_path / "a", batch=batch)
    np.testing.assert_allclose(store.values, extract(source, rows, tmp_path / "b").values, rtol=1e-4, atol=1e-5)


def test_progress_counts_every_frame_once(source: FeatureSource, rows: CuratedRows, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    writer = begin(tmp_path / "out", rows, source.extractor.dimension)
    options: dict[str, Any] = {"batch": 100, "mirrored": False, "processes": ALONE}
    extract_rows(source.extractor, rows, writer, CPU, **options, progress=lambda *pair: seen.append(pair))
    total = len(rows.names)
    assert seen == [(100, total), (200, total), (total, total)]


class Together:
    """One of several processes, which are threads here."""

    def __init__(self, rank: int, world_size: int, barrier: threading.Barrier, box: dict[int, Any]) -> None:
        self.rank, self.world_size, self._barrier, self._box = rank, world_size, barrier, box

    def all_gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        assert len(own) == sizes[self.rank]
        return torch.cat(self._exchange(own))

    def broadcast_numbers(self, numbers: Sequence[int]) -> list[int]:
        found: list[int] = self._exchange(list(numbers))[0]
        return found

    def _exchange(self, own: Any) -> list[Any]:
        self._box[self.rank] = own
        self._barrier.wait(60)
        found = [self._box[rank] for rank in range(self.world_size)]
        self._barrier.wait(60)
        return found


class Counted(CuratedRows):
    """Counts the rows that each process reads, and fails where it has read as many as a limit says."""

    limit = 10**6

    def read(self, start: int, size: int, part: tuple[int, int] = (0, 1)) -> Iterator[Array]:
        self.counts: dict[int, int] = getattr(self, "counts", {})
        for pixels in super().read(start, size, part):
            self.counts[part[0]] = self.counts.get(part[0], 0) + len(pixels)
            if self.counts[part[0]] > self.limit:
                raise KeyboardInterrupt
            yield pixels


def extract_together(source: FeatureSource, rows: CuratedRows, out: Path, count: int) -> StoreWriter:
    """Extracts with several threads; those that fail end all of them."""
    barrier, box, dimension = threading.Barrier(count), dict[int, Any](), source.extractor.dimension
    writer = begin(out, rows, dimension, mirrored=True)

    def run(rank: int) -> None:
        group = Together(rank, count, barrier, box)
        given = writer if rank == 0 else None
        try:
            extract_rows(source.extractor, rows, given, CPU, batch=8, mirrored=True, processes=group)
        except (KeyboardInterrupt, threading.BrokenBarrierError):
            barrier.abort()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))
    return writer


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_share_the_rows_and_store_what_one_stores(
    source: FeatureSource, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("abawkit.features.extract._DURABLE_ROWS", 32)
    rows = Counted(open_curated(curated))
    expected = extract(source, rows, tmp_path / "one", batch=8, mirrored=True)
    rows.counts.clear()
    found = extract_together(source, rows, tmp_path / "out", count).finish()
    assert found.digest == expected.digest
    assert sum(rows.counts.values()) == 229  # each frame is read once
    assert set(rows.counts) == set(range(count))


def test_processes_that_were_killed_go_on_in_any_number(
    source: FeatureSource, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abawkit.features.extract._DURABLE_ROWS", 32)
    rows = Counted(open_curated(curated))
    rows.limit = 64  # each in its third chunk
    assert extract_together(source, rows, tmp_path / "out", 2).written == 128
    rows.limit = 10**6
    rows.counts.clear()
    again = extract_together(source, rows, tmp_path / "out", 3)
    assert (again.resumed, again.written) == (128, 229)
    assert sum(rows.counts.values()) == 101
    expected = extract(source, rows, tmp_path / "one", batch=8, mirrored=True)
    assert again.finish().digest == expected.digest


def test_a_process_reads_its_part_of_a_list_and_names_rows_as_the_list_does(rows: CuratedRows, release: Path) -> None:
    names = [*rows.names[:5], "v/00001.jpg"]
    listed = ListedRows(None, release / "cropped_aligned", names)
    whole = list(ListedRows(None, release / "cropped_aligned", names[:5]).read(0, 2))
    part = list(ListedRows(None, release / "cropped_aligned", names[:5]).read(0, 2, (0, 2)))
    assert [chunk.tolist() for chunk in part] == [whole[0].tolist(), whole[2].tolist()]
    assert list(listed.read(4, 2, (1, 2))) == []
    with pytest.raises(DataError, match=r"row 6: v/00001\.jpg: missing"):
        list(listed.read(1, 1, (0, 2)))


def test_missing_and_unreadable_frames_of_a_list_are_named(
    source: FeatureSource, release: Path, tmp_path: Path
) -> None:
    root = tmp_path / "frames"
    shutil.copytree(release / "cropped_aligned", root)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))[:9]
    (root / names[3]).unlink()
    (root / names[5]).write_bytes(b"")
    with pytest.raises(DataError) as error:
        extract(source, ListedRows(None, root, names), tmp_path / "out")
    lines = str(error.value).splitlines()
    assert lines[0] == "frames of the list can't be read:"
    assert lines[1] == f"row 4: {names[3]}: missing (No such file or directory)"
    assert lines[2].startswith(f"row 6: {names[5]}: unreadable (")
    assert lines[-1] == "copy these frames again, give the right --frames, or take their rows out of the list"


def test_rows_without_a_frame_are_left_out_and_counted(curated: Path) -> None:
    opened = open_curated(curated)
    frames = np.array(opened.splits["validation"].frames)
    frames[[0, 4]] = -1
    object.__setattr__(opened.splits["validation"], "frames", frames)
    with pytest.warns(DataWarning, match="2 rows of 229 have no frame, so no features are extracted for them"):
        rows = CuratedRows(opened)
    assert len(rows.names) == 227
    assert rows.describe()["without_frame"] == 2
    names = opened.splits["validation"].annotations.images.to_pylist()
    assert rows.names[-48:] == [*names[1:4], *names[5:]]


def test_weights_without_heads_serve_and_a_backbone_alone_is_refused(save: Save, source: FeatureSource) -> None:
    found = load_network_source(save("heads."), CPU)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8))
    with torch.inference_mode():
        values = [each.extractor.extract(prepare_frames(pixels, each.extractor)) for each in (found, source)]
    assert torch.equal(*values)
    with pytest.raises(DataError, match=r"holds the backbone alone, .*; train on it first: `abawkit train --weights"):
        load_network_source(save("heads.", "attention."), CPU)


def test_weights_of_a_run_say_which_curated_set_they_were_trained_on(save: Save) -> None:
    weights = save()
    assert "trained_on" not in load_network_source(weights, CPU).description
    manifest = weights.parent / "manifest.json"
    manifest.write_text('{"data": {"table_digest": "ab12"}}')
    assert load_network_source(weights, CPU).description["trained_on"] == "ab12"
    manifest.write_text('{"data": []}')  # of another program
    assert "trained_on" not in load_network_source(weights, CPU).description


class Brightness:
    """Mean and largest value of a frame; or what a broken extractor returns."""

    name = "brightness"
    dimension = 2
    mean: Colour = (0.0, 0.0, 0.0)
    deviation: Colour = (1.0, 1.0, 1.0)

    def __init__(self, size: int = 112, change: Callable[[Tensor], Tensor] = lambda values: values) -> None:
        self.size, self.change = size, change

    def extract(self, frames: Tensor) -> Tensor:
        assert frames.shape[1:] == (3, self.size, self.size)
        return self.change(torch.stack([frames.mean(dim=(1, 2, 3)), frames.amax(dim=(1, 2, 3))], dim=1))


def test_frames_are_resized_and_normalised_as_the_extractor_says() -> None:
    pixels = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    pixels[0, :, 2:] = torch.tensor([51, 102, 255], dtype=torch.uint8)
    extractor = Brightness(2)
    extractor.mean, extractor.deviation = (0.2, 0.0, 0.5), (0.5, 1.0, 2.0)
    found = prepare_frames(pixels, extractor)
    # the triangle of four columns around the middle of the first two weighs them 3/4, 3/4, 1/4, and 0: their sum is 7/4
    low, high = 1 / 7, 6 / 7
    expected = [[(0.2 * share - 0.2) / 0.5, 0.4 * share, (share - 0.5) / 2] for share in (low, high)]
    np.testing.assert_allclose(found[0, :, 0].T, expected, atol=1e-6)
    extractor.size = 4
    same = prepare_frames(pixels, extractor)
    np.testing.assert_allclose(same[0, :, 1, 3], [0.0, 0.4, 0.25], atol=1e-6)
    assert pixels.max() == 255
    network = Brightness()
    network.mean, network.deviation = MEAN, STD
    assert prepare_frames(torch.zeros(1, 112, 112, 3, dtype=torch.uint8), network).shape == (1, 3, 112, 112)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda values: values[:, :1],
            r"brightness: returned torch.float32 \(32, 1\) for 32 frames, expected floating",
        ),
        (lambda values: values.long(), r"brightness: returned torch.int64 \(32, 2\)"),
        (lambda values: values[1:], r"brightness: returned torch.float32 \(31, 2\)"),
        (
            lambda values: values / 0,
            r"row 1, number 1 is inf, expected a finite float32; the source must return finite",
        ),
    ],
)
def test_an_extractor_that_breaks_its_promise_is_named(
    rows: CuratedRows, tmp_path: Path, change: Callable[[Tensor], Tensor], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        extract(FeatureSource(Brightness(112, change), {}, {}), rows, tmp_path / "out")
