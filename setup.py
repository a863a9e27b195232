"""Entry point of the build: what the package is made of stands in pyproject.toml, native code in CMakeLists.txt.

Without a compiler, or without torch, abawkit installs as pure Python and keeps the reason for `abawkit ops`; a wheel of
it is then one for every system, whose native operators `abawkit ops build` compiles where it is installed.
``ABAWKIT_NATIVE``: ``auto`` (the default), ``require`` (a failed build is an error) or ``skip``. ``ABAWKIT_CUDA`` and
``ABAWKIT_CUDA_ARCHITECTURES`` (``80;90``) go on to CMake.
"""

import os
import re
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from abawkit.system.native_build import (  # noqa: E402
    COMMAND,
    LIBRARY,
    NO_TORCH,
    NotBuiltError,
    add_remedy,
    compile_operators,
    find_torch,
)
from abawkit.system.shipped import FOLDER, copy_shipped  # noqa: E402

PACKAGE = Path("abawkit") / "ops"
NOTE = "build_note.txt"


class BuildNative(build_ext):  # type: ignore[misc]
    """Runs CMake, and falls back to a note that says why there is nothing."""

    def run(self) -> None:
        """Builds into the package: of the wheel, or of the source tree for an editable install."""
        editable = self.inplace or getattr(self, "editable_mode", False)
        target = (ROOT if editable else Path(self.build_lib)) / PACKAGE
        target.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("ABAWKIT_NATIVE") or "auto"
        if mode not in ("auto", "require", "skip"):
            raise SystemExit(f"ABAWKIT_NATIVE={mode}: expected auto, require or skip")
        for old in (*target.glob("_build.*.so"), *target.glob("libabawkit_operators.*"), *target.glob(NOTE)):
            old.unlink()
        note = ""
        if mode == "skip":
            note = f"left out when abawkit was installed (ABAWKIT_NATIVE=skip); run `{COMMAND}`"
        else:
            try:
                temporary = Path(self.build_temp)
                compile_operators(ROOT, target, self.distribution.get_version(), temporary, torch=find_torch())
            except NotBuiltError as error:
                if error.output:
                    say(error.output)
                if mode == "require":
                    raise SystemExit(f"ABAWKIT_NATIVE=require, but native operators can't be built: {error}") from error
                # Whoever reads the note later may have torch: it has to be there where the operators are compiled.
                note = add_remedy(str(error)).replace(NO_TORCH, "torch was not found when abawkit was built")
                if editable:
                    say(f"abawkit: installing without native operators: {note}")
        (target / NOTE).write_text(note, encoding="utf-8")

    def get_outputs(self) -> list[str]:
        """Files that `run` leaves, for the list of what is installed."""
        folder = Path(self.build_lib) / PACKAGE
        return [str(path) for pattern in (NOTE, "*.so") for path in folder.glob(pattern)]

    def get_output_mapping(self) -> dict[str, str]:
        """Nothing is built in one place and used from another."""
        return {}


class BuildPython(build_py):  # type: ignore[misc]
    """Puts what is not Python into the wheel too: native sources, and submissions."""

    copied: tuple[Path, ...] = ()

    def run(self) -> None:
        """Copies them; an editable install finds them in the checkout."""
        super().run()
        if not self.editable_mode:
            self.copied = tuple(copy_shipped(ROOT, Path(self.build_lib) / "abawkit" / FOLDER.name))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Files that `run` leaves."""
        return [*super().get_outputs(include_bytecode), *map(str, self.copied)]


class BuildWheel(bdist_wheel):  # type: ignore[misc]
    """A wheel without native operators is one for every Python and system, and its last line says what it lacks."""

    def run(self) -> None:
        """Compiles first, as the name of the wheel depends on what comes of it."""
        self.run_command("build")
        folder = Path(self.get_finalized_command("build").build_lib) / PACKAGE
        native = (folder / LIBRARY).is_file()
        if not native:
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()
        if not native:
            note = (folder / NOTE).read_text(encoding="utf-8")
            say(f"abawkit: this wheel is pure Python, without native operators: {note}")


def say(text: str) -> None:
    """Writes for whoever builds; pip shows it with --verbose."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def index_readme(text: str, repository: str | None) -> str:
    """README as a package index shows it, where a link to a file of the repository leads nowhere.

    Args:
        text: README.md.
        repository: Where the repository can be read, or None: links then become what they are called, and pictures go.
    """

    def absolute(found: re.Match[str]) -> str:
        picture, name, path = found.groups()
        if re.match(r"[a-z]+:", path):
            return found[0]
        if repository is None:
            return "" if picture else name
        if path.startswith("#"):
            return f"[{name}]({repository}{path})"
        return f"{picture}[{name}]({repository}/{'raw' if picture else 'blob'}/main/{path})"

    return re.sub(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)", absolute, text)


def readme() -> str:
    """README for the index."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return index_readme((ROOT / "README.md").read_text(encoding="utf-8"), project["urls"].get("Repository"))


setup(
    ext_modules=[Extension("abawkit.ops._build", sources=[])],
    cmdclass={"bdist_wheel": BuildWheel, "build_ext": BuildNative, "build_py": BuildPython},
    long_description=readme(),
    long_description_content_type="text/markdown",
)
