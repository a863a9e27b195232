"""What the CUDA kernels may cost: held by `benchmarks/cuda_budget.py`, for which no GPU is needed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ARCHITECTURE, IMAGES = "90", 1024


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def budget() -> ModuleType:
    return load("cuda_budget")


def tool_or_skip(budget: ModuleType, name: str) -> None:
    try:
        budget.find_tool(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_no_program_spills_and_all_have_the_blocks_that_they_were_designed_for(budget: ModuleType) -> None:
    tool_or_skip(budget, "nvcc")
    costs = budget.measure(
        ["forward", "backward"], ["bfloat16"], IMAGES, ARCHITECTURE, budget.CARDS["H200"], disassemble=False
    )
    assert {c.program: c.spills for c in costs if c.spills} == {}
    walks = {c.program.split("<")[0]: c for c in costs if c.program.split("<")[0] in READ}
    assert walks.keys() == READ.keys()
    for name, cost in walks.items():
        assert cost.blocks_per_sm >= READ[name], name
        assert cost.blocks >= 2 * 132, name  # enough to occupy every SM, whatever the number of images


READ = {"Sums": 3, "Attend": 3, "AttendBackward": 2, "FeaturesBackward": 2}
"""The programs that read features in training, and the least blocks of each on an SM."""


def test_evaluation_keeps_features_in_shared_memory_and_its_instructions(budget: ModuleType) -> None:
    tool_or_skip(budget, "nvcc")
    tool_or_skip(budget, "nvdisasm")
    card = budget.CARDS["H200"]
    float32, bfloat16 = budget.measure(["inference"], ["float32", "bfloat16"], IMAGES, ARCHITECTURE, card)
    for cost, images, size, instructions in ((float32, 2, 4, FLOAT32), (bfloat16, 4, 2, BFLOAT16)):
        assert cost.spills == 0
        assert cost.blocks * images == IMAGES
        assert images * 512 * 49 * size < cost.shared_bytes <= card.block_shared  # all of a block's images
        assert cost.bytes_per_image == (512 * 49 + 512) * size  # features in, the embedding out, both once
        assert cost.instructions_per_image <= instructions


FLOAT32, BFLOAT16 = 30_000, 27_600
"""Warp instructions of an image, at most: what was counted with nvcc 13.0, and 3 %."""


# --- the count itself, on a listing of three blocks


LISTING = """
\t.section\t.text.kernel,"ax",@progbits
kernel:
\t//## File "{file}", line 1
        /*0000*/                   S2R R0, SR_TID.X ;
\t//## File "{file}", line 2
.L_x_1:
        /*0010*/                   FADD R1, R1, R1 ;
        /*0020*/               @P0 BRA `(.L_x_1) ;
\t//## File "{file}", line 3
        /*0030*/               @P1 BRA `(.L_x_2) ;
        /*0040*/                   FMUL R1, R1, R1 ;
\t//## File "{file}", line 4
        /*0050*/                   FMUL R1, R1, R1 ;
.L_x_2:
\t//## File "{file}", line 1
        /*0060*/                   EXIT ;
"""


@pytest.fixture
def way(budget: ModuleType, tmp_path: Path) -> ModuleType:
    source = tmp_path / "kernel.cu"
    source.write_text("start();\nfor (int i = 0; i < n; ++i)\n  if (x)\n  rare();\n")
    module: ModuleType = budget.machine_code
    (_, blocks), *others = module.kernels(LISTING.replace("{file}", str(source)))
    assert not others
    module.__dict__["blocks_of_test"] = blocks
    return module


def seven_turns(line: str) -> float | None:
    return 7 if "i < n" in line else None


def nothing(_: str) -> None:
    return None


def test_a_loop_counts_as_often_as_it_runs_and_of_two_ways_the_longer(way: ModuleType) -> None:
    way_of_all = way.Way(way.blocks_of_test, seven_turns, nothing)
    assert way_of_all.length() == 1 + 7 * 2 + 4
    assert way_of_all.length("FMUL") == 2
    without_rare = way.Way(way.blocks_of_test, seven_turns, lambda line: "rare" in line)
    assert without_rare.length() == 1 + 7 * 2 + 3


def test_a_loop_that_nobody_gave_a_number_for_is_an_error_that_names_its_line(way: ModuleType) -> None:
    with pytest.raises(way.UnknownLoopError, match=r"for \(int i = 0; i < n; \+\+i\)"):
        way.Way(way.blocks_of_test, nothing, nothing).length()
