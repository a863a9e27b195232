"""An environment of its own for the check: the packages of an interpreter, and before them those of a folder of wheels.

Nothing of the interpreter's own packages is changed, and no network is needed.
"""

import os
import site
import subprocess
import sys
import venv
from pathlib import Path


def make_environment(folder: Path, wheels: Path | None = None) -> Path:
    """Makes the environment from the interpreter that runs this.

    Args:
        folder: Where it is made.
        wheels: Folder of wheels that are installed into it; pip of this interpreter does that.

    Returns:
        Its interpreter.

    Raises:
        subprocess.CalledProcessError: If a wheel can't be installed.
    """
    venv.EnvBuilder(with_pip=False, symlinks=True, clear=True).create(folder)
    python = folder / "bin" / "python"
    own = Path(_ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    theirs = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    # the environment's own folder comes before these; a name late in the alphabet, so that an install here wins too
    lines = [f"import site; site.addsitedir({path!r})\n" for path in theirs]
    (own / "zz_parent.pth").write_text("".join(lines))
    if wheels:
        files = sorted(map(str, wheels.glob("*.whl")))
        options = ["--no-index", "--no-deps", "--no-compile", "--quiet", "--disable-pip-version-check"]
        subprocess.run([str(python), "-m", "pip", "install", *options, "--ignore-installed", *files], check=True)
    return python


def make_variables(python: Path) -> dict[str, str]:
    """Variables of commands that run in the environment: cmake and ninja may lie beside either interpreter."""
    folders = [str(python.parent), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    settings = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "160"}
    return {**os.environ, **settings, "PATH": os.pathsep.join(folders)}


def _ask(python: Path, code: str) -> str:
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
