"""A package of someone else's adds a format by its entry point alone: installed in earnest, and used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import command_line

PLUGIN = Path(__file__).parents[2] / "examples/plugin"

USE = """
import sys
from abawkit.formats.base import list_format_names, get_format
from abawkit.formats.writing import digest_submission, write_submission
from abawkit.inspection.formats import recognise_format
from pathlib import Path

out, official = Path(sys.argv[1]), Path(sys.argv[2])
assert list_format_names() == sorted({*list_format_names(), "abaw7", "example-json"})
theirs, ours = get_format("example-json"), get_format("abaw7")
submission = ours.read(official)
write_submission(out, theirs.encode(submission))
again = theirs.read(out)
assert ours.encode(again) == official.read_bytes()
found = recognise_format(out)
assert [plugin.name for plugin in found.plugins] == ["example-json"], found
assert "torch" not in sys.modules
print("right")
"""

ROWS = ["v/00001.jpg,0.500000,-0.250000,3,1,0,0,0,0,0,0,0,0,0,0,1", "v/00008.jpg,0.000000,1.000000,7" + ",0" * 12]


@pytest.fixture(scope="module")
def files(plugin_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A submission in the format of the plugin, and the official one that it was made from."""
    folder = tmp_path_factory.mktemp("plugged")
    official, out = folder / "official.txt", folder / "out.jsonl"
    official.write_text("\n".join(["image,valence,arousal,expression,aus", *ROWS, ""]))
    result = run(plugin_environment, "-c", USE, str(out), str(official))
    assert result.stdout == "right\n", result.stderr
    return out, official


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=PLUGIN, check=False)


def test_its_files_say_what_was_decided(files: tuple[Path, Path]) -> None:
    first, second = files[0].read_text().splitlines()
    decided = {"image": "v/00001.jpg", "valence": 0.5, "arousal": -0.25, "expression": "Fear", "aus": ["AU1", "AU26"]}
    assert json.loads(first) == decided
    assert json.loads(second)["aus"] == []


def test_its_files_are_checked_by_the_command_and_their_defects_named(
    plugin_environment: dict[str, str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    out, official = files
    packages = Path(plugin_environment["PYTHONPATH"])
    check = ("check", "--format", "example-json", "--list", official)
    assert command_line(*check, out, packages=packages).stdout == "ok: 2 rows, as listed\n"
    bad = tmp_path / "bad.jsonl"
    bad.write_text(out.read_text().replace('"Fear"', '"Boredom"').replace("1.0", "1.5"))
    result = command_line(*check, bad, packages=packages, code=3)
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{bad}:1: column 'expression': got 'Boredom', expected one of Neutral, Anger")
    assert second == f"{bad}:2: column 'arousal': got 1.5, expected a number in -1..1"


def test_its_files_are_scored_as_the_official_ones_are(
    plugin_environment: dict[str, str], files: tuple[Path, Path]
) -> None:
    out, official = files
    found = []
    for name, path in (("example-json", out), ("abaw7", official)):
        command = ("score", path, "--format", name, "--truth", official, "--json")
        found.append(json.loads(command_line(*command, packages=Path(plugin_environment["PYTHONPATH"])).stdout))
    assert found[0] == found[1]
    assert (found[0]["rows"], found[0]["ccc_va"], found[0]["tasks"]) == (2, 1.0, ["va", "expression", "au"])


def test_without_the_package_its_name_is_unknown(files: tuple[Path, Path]) -> None:
    result = command_line("check", files[0], "--format", "example-json", "--list", files[1], code=2)
    assert "--format example-json: unknown format; installed formats: abaw11, abaw3-au" in result.stderr
