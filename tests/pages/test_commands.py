"""Every command on every page runs as it stands there, on a tiny synthetic release with the names of the pages."""

import re
import shlex
import subprocess
from itertools import filterfalse, pairwise
from pathlib import Path

import pytest

from tests.pages.conftest import Shell
from tests.pages.fields import find_sections, read_fields
from tests.pages.markdown import ROOT, blocks, commands, is_generated, name, pages

pytestmark = pytest.mark.e2e

# What would take a CPU hours or minutes is shortened.
SHORTER = (
    (r"--size demo", "--size tiny"),
    (r"^(abawkit train (?:baseline|mine.toml) .*)", r"\1 --set network=ddamfn-nano"),
    (r"^(abawkit train paper .*)", r"\1 --set heads.epochs=1 --set all.epochs=0"),
    (r"^(abawkit train (?!--resume)(?!.* all\.epochs=).*)", r"\1 --set all.epochs=1"),
    (r"^(abawkit train (?!--resume)(?!.* heads\.epochs=).*)", r"\1 --set heads.epochs=0"),
)

ACCEPTED = {"abawkit doctor": (0, 4)}
"""Exit codes besides 0. ``doctor`` may find that this machine lacks something, say disk."""

# What is run elsewhere: where, and by which words. Each takes many runs, a compiler, a network, or a GPU.
ELSEWHERE = {
    r"python3 -m venv ": ("Makefile", "$(PYTHON) -m venv"),
    r"\.venv/bin/pip install ": ("Makefile", "-m pip install"),
    r"make ": ("Makefile", ".PHONY"),
    r"OMP_NUM_THREADS=1 \.venv/bin/python -m pytest ": ("Makefile", "/pytest -n auto"),
    r"ABAWKIT_LONG_TESTS=1 make kernels": ("Makefile", "\nkernels:"),
    r"python (benchmarks/|-m benchmarks\.)": ("Makefile", "\nbench:"),
    r"torchrun ": ("tests/faults/test_processes.py", "torch.distributed.run"),
    r"abawkit ops build": ("tests/check_distribution.py", '"ops", "build"'),
    r"abawkit demo$": (".ci/run", "abawkit demo --size tiny"),
    r"abawkit inspect demo/": (".ci/run", "abawkit inspect build/demo-tiny/predictions.txt"),
    r"abawkit bench$": ("tests/cli/test_bench.py", '["bench"'),
    r"abawkit ablate ": (".ci/run", "abawkit ablate --size tiny"),
    r"abawkit submit submissions/(?!demo)": ("tests/submissions/test_shipped_submissions.py", "paper-classifier"),
    r"abawkit compare submissions/": ("tests/cli/test_compare.py", '"compare"'),
}

FIRST = [
    "getting-started.md",
    "curate.md",
    "train.md",
    "predict-and-check.md",
    "tune-and-ensemble.md",
    "use-features.md",
    "train-sequence-heads.md",
]
ORDER = sorted(
    filterfalse(is_generated, pages()), key=lambda page: FIRST.index(page.name) if page.name in FIRST else len(FIRST)
)
"""The order in which the pages are read: a page takes as given what the pages before it have made."""


def shorten(line: str) -> str:
    """A command that ends soon."""
    for pattern, shorter in SHORTER:
        line = re.sub(pattern, shorter, line)
    return line


def find_elsewhere(line: str) -> str | None:
    """The pattern in `ELSEWHERE` of a command that is not run here."""
    return next((pattern for pattern in ELSEWHERE if re.match(pattern, line)), None)


@pytest.mark.slow
def test_every_command_and_python_block_runs_and_files_have_the_fields_of_their_page(shell: Shell) -> None:
    """One test, so that one process runs it: a page takes as given what the pages before it have made."""
    failed = [text for page in ORDER for text in [*run_commands(page, shell), *run_python(page, shell)]]
    assert not failed, "\n\n".join(failed)
    sections = find_sections()
    assert len(sections) == 15
    for pattern, documented in sections.items():
        paths = list(shell.folder.glob(pattern))
        assert paths, pattern
        assert [path for path in paths if read_fields(path) != documented] == []


def run_commands(page: Path, shell: Shell) -> list[str]:
    """Runs the commands of a page that have not been run yet: what those that fail have printed."""
    failed = []
    for command in commands(page):
        line = shorten(command.line)
        if find_elsewhere(command.line) or line in shell.ran:
            continue
        result = shell.run(line)
        if result.returncode not in ACCEPTED.get(command.line, (0,)):
            failed.append(f"{name(page)}: {line}\n{result.stdout}\n{result.stderr}")
    return failed


def run_python(page: Path, shell: Shell) -> list[str]:
    """Runs the blocks of Python of a page: what those that fail have printed."""
    failed = []
    for number, block in enumerate(blocks(page, "python")):
        script = f"{page.stem}-{number}.py"
        (shell.folder / script).write_text(block)
        result = shell.run(f"python {script}")
        if result.returncode:
            failed.append(f"{name(page)}:\n{block}\n{result.stdout}\n{result.stderr}")
    return failed


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_what_is_not_run_here_is_on_a_page_and_run_elsewhere(pattern: str) -> None:
    place, words = ELSEWHERE[pattern]
    assert words in (ROOT / place).read_text()
    assert any(re.match(pattern, command.line) for page in pages() for command in commands(page))


def test_git_ignores_everything_that_these_commands_write() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    lines = [shlex.split(command.line) for page in pages() for command in commands(page)]
    before = ("--out", "--repair", "--data", ">")
    paths = {path for parts in lines for option, path in pairwise(parts) if option in before}
    paths |= {"demo", "s-Aff-Wild2", "affectnet8.pth", *(re.sub(r"\.txt$", ".npz", path) for path in paths)}
    assert len(paths) > 20
    command = ["git", "-C", str(ROOT), "check-ignore", *(f"{path}/" if "." not in path else path for path in paths)]
    ignored = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    assert {path.rstrip("/") for path in paths} - {path.rstrip("/") for path in ignored} == set()


def test_the_makefile_has_the_targets_that_the_pages_name() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = {target for page in pages() for target in re.findall(r"(?:`|^\$ |^)make ([a-z-]+)", page.read_text(), re.M)}
    assert "gpu-standin" in named
    assert named <= set(targets)
