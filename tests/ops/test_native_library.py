"""The compiled operators are loaded where they fit; where they don't, the reason is said, and what builds them anew."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import abawkit
from abawkit.errors import OpUnavailableError, OpWarning
from abawkit.ops import dual_direction_attention, native
from abawkit.ops import native_library as binary
from abawkit.ops.base import Call
from abawkit.ops.native import Native
from abawkit.ops.registry import select
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import Inputs

FACTS = {
    "abawkit": abawkit.__version__,
    "compiler": "GNU 12.2.0",
    "instruction_sets": "baseline avx2",
    "cuda": "12.8.93",
    "cuda_refusal": "",
    "cuda_architectures": "80 86 90",
    "cuda_ptx": "90",
    "torch": "2.13.0+cpu",
}


@pytest.fixture
def fresh_binary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing loaded or found before, and what is really there after the test."""

    def forget() -> None:
        binary.load.cache_clear()
        binary.read_build_facts.cache_clear()
        binary.find_cached_build.cache_clear()

    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.fixture
def folder(fresh_binary: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the operators are looked for: there is nothing in it, and nothing was built."""
    monkeypatch.setattr(binary, "FOLDER", tmp_path)
    monkeypatch.setitem(sys.modules, "abawkit.ops._build", None)
    return tmp_path


def built(monkeypatch: pytest.MonkeyPatch, **changed: str) -> None:
    module = ModuleType("abawkit.ops._build", "How the native operators were built.")
    vars(module).update(FACTS | changed)
    monkeypatch.setitem(sys.modules, "abawkit.ops._build", module)


def call(sizes: Sizes, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Call:
    return Call(torch.device(device), dtype, sizes, training=False, gradients=False)


# --- torch and abawkit


@pytest.mark.parametrize("running", ["2.10.0", "2.10.0a0+git1234", "2.12.1+cu128", "2.13.0+cpu", "2.27.0.dev20270101"])
def test_it_fits_the_torch_that_it_was_built_with_and_every_other_one_of_the_stable_interface(running: str) -> None:
    assert binary.explain_refusal(FACTS, running) == ""


@pytest.mark.parametrize("running", ["2.9.1+cu128", "2.1.0", "1.13.1", "3.0.0", "3.10.0rc1"])
def test_another_torch_is_refused_with_what_it_is_for_what_runs_and_how_to_rebuild(running: str) -> None:
    assert binary.explain_refusal(FACTS, running) == (
        f"the binary was built for torch 2.10 to 2.x (with 2.13.0+cpu), torch {running} runs; rebuild: {binary.REBUILD}"
    )


def test_a_binary_of_another_abawkit_is_refused_whatever_torch_runs() -> None:
    expected = f"the binary is of abawkit 0.0.9, this is {abawkit.__version__}; rebuild: {binary.REBUILD}"
    for running in ("2.13.0", "2.9.0"):
        assert binary.explain_refusal(FACTS | {"abawkit": "0.0.9"}, running) == expected


# --- GPUs


@pytest.mark.parametrize(
    ("architectures", "ptx", "capability"),
    [
        ("80 90", "90", (8, 0)),  # exactly
        ("80 90", "90", (8, 9)),  # a later one of the same major
        ("80 86", "", (8, 6)),
        ("90a", "", (9, 0)),
        ("80 90 90a", "90", (9, 0)),
        ("80 90", "90", (10, 0)),  # PTX, on a later major
        ("80", "80", (12, 1)),
        ("80", "80", (9, 0)),
        ("100", "", (10, 3)),  # a major of two digits
    ],
)
def test_gpus_that_kernels_run_on(architectures: str, ptx: str, capability: tuple[int, int]) -> None:
    assert binary.explain_gpu_refusal(FACTS | {"cuda_architectures": architectures, "cuda_ptx": ptx}, capability) == ""


@pytest.mark.parametrize(
    ("architectures", "ptx", "capability", "wanted"),
    [
        ("86 90", "90", (8, 0), "80"),  # older than one of the same major
        ("80", "", (9, 0), "90"),  # later, but no PTX
        ("90a", "", (9, 1), "91"),  # code for 90a runs on 9.0 alone
        ("90a", "", (10, 0), "100"),
        ("100", "", (12, 1), "121"),
        ("", "", (8, 0), "80"),
    ],
)
def test_gpus_that_they_do_not_run_on_are_named_with_the_line_that_builds_for_them(
    architectures: str, ptx: str, capability: tuple[int, int], wanted: str
) -> None:
    assert binary.explain_gpu_refusal(FACTS | {"cuda_architectures": architectures, "cuda_ptx": ptx}, capability) == (
        f"the binary has kernels for compute capabilities {architectures}, this GPU has {wanted}; "
        "rebuild: abawkit ops build"
    )


def test_a_build_without_cuda_serves_no_gpu_and_says_what_to_install() -> None:
    facts = FACTS | {"cuda": "", "cuda_architectures": "", "cuda_ptx": ""}
    assert binary.explain_gpu_refusal(facts, (9, 0)) == (
        "the binary was built without CUDA, as nvcc was not found; install the CUDA toolkit, then run "
        "`abawkit ops build`"
    )


@pytest.mark.parametrize("capability", [(7, 5), (7, 0), (6, 1)])
def test_a_gpu_that_lacks_the_instructions_is_not_told_to_rebuild(capability: tuple[int, int]) -> None:
    assert binary.explain_gpu_refusal(FACTS, capability) == (
        f"the CUDA kernels need a GPU of compute capability 8.0 or later, this one has {capability[0]}.{capability[1]}"
    )


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        ("nvcc was not found", "install the CUDA toolkit"),
        ("ABAWKIT_CUDA=skip was set", "leave it unset"),
        (
            "nvcc can't be used: host_config.h:132:2: error: #error -- unsupported GNU version!",
            "correct that (CUDAHOSTCXX names another host compiler)",
        ),
    ],
)
def test_a_build_without_cuda_says_what_kept_it_from_cuda(cause: str, remedy: str) -> None:
    facts = FACTS | {"cuda": "", "cuda_architectures": "", "cuda_ptx": "", "cuda_refusal": cause}
    assert binary.explain_gpu_refusal(facts, (9, 0)) == (
        f"the binary was built without CUDA, as {cause}; {remedy}, then run `abawkit ops build`"
    )


@pytest.mark.parametrize(
    ("driver", "runtime", "torch_cuda", "versions", "remedy"),
    [
        (
            *(12040, 13000, "12.6"),
            "driver: CUDA 12.4, torch: CUDA 12.6, binary: CUDA 13.0",
            "update the NVIDIA driver, or, with the nvcc of CUDA 12.4, rebuild: ",
        ),
        (13020, 13000, "13.0", "driver: CUDA 13.2, torch: CUDA 13.0, binary: CUDA 13.0", "rebuild: "),
        (0, 0, None, "driver: unknown, torch: a build for CPUs, binary: unknown", "rebuild: "),
    ],
)
def test_kernels_that_cannot_start_say_which_versions_meet_and_what_to_do(
    driver: int, runtime: int, torch_cuda: str | None, versions: str, remedy: str
) -> None:
    assert binary.describe_cuda_failure("no luck", driver, runtime, torch_cuda) == (
        f"its CUDA kernels can't be started: no luck ({versions}); {remedy}{binary.REBUILD}"
    )


# --- loading


def test_facts_are_what_the_built_module_holds_and_none_without_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert binary.read_build_facts() == {}
    binary.read_build_facts.cache_clear()
    built(monkeypatch)
    assert binary.read_build_facts() == FACTS


def test_the_binary_that_is_here_has_every_fact(fresh_binary: None) -> None:
    facts = binary.read_build_facts()
    if not facts:
        pytest.skip("nothing was built")
    assert facts.keys() == FACTS.keys()
    assert bool(facts["cuda"]) is not bool(facts["cuda_refusal"])


def test_what_was_not_built_says_the_note_of_the_build(folder: Path) -> None:
    (folder / "build_note.txt").write_text("not found: a C++ compiler; install it, then run `abawkit ops build`\n")
    assert binary.load() == "not built: not found: a C++ compiler; install it, then run `abawkit ops build`"


@pytest.mark.parametrize("note", [None, "", " \n"])
def test_what_was_not_built_without_a_note_says_how_to_build(folder: Path, note: str | None) -> None:
    if note is not None:
        (folder / "build_note.txt").write_text(note)
    assert binary.load() == f"not built; build: {binary.REBUILD}"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "cannot open shared object file"),
        (b"", "file too short"),
        (b"no library at all\n" * 99, "invalid ELF header"),
    ],
    ids=["absent", "empty", "garbage"],
)
def test_a_file_that_is_no_library_is_a_reason_and_not_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, cause: str
) -> None:
    built(monkeypatch, torch=torch.__version__)
    broken = folder / "libabawkit_operators.so"
    if content is not None:
        broken.write_bytes(content)
    monkeypatch.setattr(binary, "_find_library", lambda: broken)
    reason = binary.load()
    assert reason.startswith("can't be loaded (")
    assert f"{broken}: {cause}" in reason  # what the system's loader says, as where a library or a symbol is missing
    assert reason.endswith(f"); rebuild: {binary.REBUILD}")


@pytest.mark.parametrize(("changed", "said"), [({"torch": "3.1.0"}, "torch 2.10 to 3.x"), ({"abawkit": "9"}, "is 0")])
def test_what_does_not_fit_is_not_even_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    def opened() -> Path:
        raise AssertionError

    built(monkeypatch, **changed)
    monkeypatch.setattr(binary, "_find_library", opened)
    assert said in binary.load()


def test_it_is_loaded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Path] = []
    built(monkeypatch, torch=torch.__version__)
    monkeypatch.setattr(torch.ops, "load_library", loads.append)
    monkeypatch.setattr(binary, "_set_sum", lambda: "")
    assert [binary.load() for _ in range(3)] == [""] * 3
    assert loads == [folder / "libabawkit_operators.so"]


def test_a_binary_that_can_not_synchronise_batch_norms_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the statistics of one process, and say nothing."""
    another = Path(torch.__file__).parent / "lib/libc10.so"
    monkeypatch.setattr(binary, "_find_library", lambda: another)
    assert binary._set_sum() == f"the binary is older than synchronised batch norms; rebuild: {binary.REBUILD}"


# --- what the implementation and the registry make of it


def test_native_serves_nothing_where_it_was_not_built(folder: Path, sizes: Sizes) -> None:
    (folder / "build_note.txt").write_text("why not")
    for device in ("cpu", "cuda:0", "meta"):
        assert Native().reasons(call(sizes, device)) == ["not built: why not; run `abawkit ops build`"]


def test_the_automatic_choice_falls_back_to_the_reference_with_one_warning(
    folder: Path, fresh_registry: None, inputs: Inputs
) -> None:
    (folder / "build_note.txt").write_text("not found: a C++ compiler")
    expected, _ = dual_direction_attention(*inputs, training=False, implementation="reference")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for training in (False, True, False):
            features, parameters, statistics = inputs
            found, _ = dual_direction_attention(
                features, parameters, None if training else statistics, training=training
            )
    assert torch.equal(found, expected)
    (warning,) = caught
    assert warning.category is OpWarning
    assert warning.filename == __file__
    assert str(warning.message) == (
        "dual_direction_attention runs on reference, as native can't be used: not built: not found: a C++ compiler; "
        "run `abawkit ops build` (see `abawkit ops`; ABAWKIT_OPS=reference hides this warning)"
    )


def test_native_by_name_is_an_error_with_the_reason(folder: Path, fresh_registry: None, sizes: Sizes) -> None:
    (folder / "build_note.txt").write_text("not found: a C++ compiler")
    with pytest.raises(OpUnavailableError) as error:
        select(call(sizes), "native")
    assert str(error.value).splitlines()[:2] == [
        "implementation='native': can't serve evaluation of float32 on cpu, without gradients, 24 x 3 x 5, 2 heads: "
        "not built: not found: a C++ compiler; run `abawkit ops build`",
        "what could run instead: reference",
    ]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binary that can be loaded, whether there is one or not, and whose CUDA code can be started."""
    monkeypatch.setattr(binary, "load", lambda: "")
    monkeypatch.setattr(binary, "probe_gpu", lambda _: "")
    monkeypatch.setattr(native, "read_build_facts", lambda: FACTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_serves_these_types_on_cpus(fits: None, sizes: Sizes, dtype: torch.dtype) -> None:
    assert Native().reasons(call(sizes, dtype=dtype)) == []


def test_there_is_no_float16_on_cpus(fits: None, sizes: Sizes) -> None:
    assert Native().reasons(call(sizes, dtype=torch.float16)) == ["there is no kernel for float16 on cpu"]


@pytest.mark.parametrize("device", ["meta", "mps", "xpu:1"])
def test_other_devices_are_named(fits: None, sizes: Sizes, device: str) -> None:
    kind = device.split(":")[0]
    assert Native().reasons(call(sizes, device)) == [f"there are kernels for CPUs and NVIDIA GPUs, not for {kind}"]


def test_a_gpu_is_asked_what_it_is(fits: None, sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = {"cuda:0": (9, 0), "cuda:1": (7, 5)}
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capabilities[str(device)])
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        assert Native().reasons(call(sizes, "cuda:0", dtype)) == []
    (reason,) = Native().reasons(call(sizes, "cuda:1"))
    assert reason == binary.explain_gpu_refusal(FACTS, (7, 5)) != ""
    first, second = Native().reasons(call(sizes, "cuda:1", torch.int8))
    assert (first, second) == ("there is no kernel for int8 on cuda", reason)


def test_a_gpu_whose_code_cannot_be_started_is_refused(
    fits: None, sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The automatic choice then falls back, and says why: a kernel that fails in mid-training would say less."""
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(binary, "probe_gpu", lambda index: "no driver" if index == 1 else "")
    assert Native().reasons(call(sizes, "cuda:0")) == []
    assert Native().reasons(call(sizes, "cuda:1")) == ["no driver"]


def test_a_gpu_without_a_number_is_the_current_one(fits: None, sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr("torch.cuda.current_device", lambda: 1)
    monkeypatch.setattr(binary, "probe_gpu", lambda index: f"asked about {index}")
    assert Native().reasons(call(sizes, "cuda")) == ["asked about 1"]
