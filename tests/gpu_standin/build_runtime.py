"""Builds the stand-in libraries for the torch of this environment, and puts them where torch looks for NVIDIA's.

Run by the Python of the environment, which has torch without its ``nvidia-*`` packages::

    python build_runtime.py HEADERS WORK

HEADERS is a folder into which NVIDIA's headers of the runtime were installed, WORK one for sources and objects.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "runtime"
RUNTIME: Final = ("calls", "capture", "device", "driver", "kernels", "memory", "streams")

PREFIXES: Final = {
    "nccl": "libnccl",
    "cuFile": "libcufile",
    "cusparseLt": "libcusparseLt",
    "nvshmem": "libnvshmem_host",
    "cu": "libcuda.",
}
"""Libraries of symbols that have no version, by how the symbols begin; the first that fits."""

WRITTEN: Final = {
    "libcuda.": "STANDIN_DRIVER",
    "libcublas.": "STANDIN_CUBLAS",
    "libcublasLt": "STANDIN_CUBLASLT",
    "libcudnn": "STANDIN_CUDNN",
}
"""Libraries with a part of ``libraries.cpp``, and the macro of that part."""


def run(*command: str | Path) -> str:
    """Standard output of a command.

    Raises:
        SystemExit: If it fails.
    """
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def needed_libraries(libraries: Iterable[Path]) -> set[str]:
    """Names of NVIDIA's libraries that these name as needed."""
    names = re.findall(r"NEEDED.*\[(\S+)\]", "".join(run("readelf", "-d", path) for path in libraries))
    return {name for name in names if re.match(r"lib(cu|nccl|nvrtc|nvshmem|nvToolsExt|nvJitLink)", name)}


def imported_symbols(libraries: Iterable[Path]) -> set[tuple[str, str]]:
    """Symbols that these libraries take from others: name and version, which may be empty."""
    found = set()
    for path in libraries:
        for line in run("nm", "-D", "--undefined-only", path).splitlines():
            name, _, version = line.split()[-1].partition("@")
            found.add((name, version.lstrip("@")))
    return found


def defined_symbols(library: Path) -> set[str]:
    """Symbols that a library or an object defines."""
    return {line.split()[-1] for line in run("nm", "--defined-only", "--extern-only", library).splitlines() if line}


def symbols_of(library: str, imported: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The symbols that are to be of a library, by version."""
    found: dict[str, set[str]] = {}
    for name, version in imported:
        if version:
            own = version == library or (version == "NVSHMEM" and library.startswith("libnvshmem_host"))
        else:
            prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)
            own = prefix is not None and library.startswith(PREFIXES[prefix])
        if own:
            found.setdefault(version, set()).add(name)
    return found


def compile_object(source: Path, output: Path, *flags: str | Path) -> Path:
    """Compiles one file."""
    run("g++", "-std=c++20", "-O1", "-g", "-fPIC", "-Wall", "-Wextra", *flags, "-c", source, "-o", output)
    return output


def link(library: str, objects: Iterable[Path], symbols: dict[str, set[str]], work: Path, *needs: Path) -> Path:
    """Links a library: what it lacks of the symbols names itself when it is called, and ends the process."""
    objects = list(objects)
    defined = set().union(*(defined_symbols(path) for path in objects))
    absent = sorted(set().union(*symbols.values()) - defined) if symbols else []
    refusals = work / f"{library}.c"
    text = "".join(f'void {name}(void) {{ standin_refuse("{name}"); }}\n' for name in absent)
    refusals.write_text("void standin_refuse(const char*);\n" + text)
    script = work / f"{library}.map"
    nodes = [
        f"{version} {{ global: {' '.join(f'{name};' for name in sorted(names))} }};\n"
        for version, names in symbols.items()
        if version
    ]
    script.write_text("".join(nodes))
    versions = [f"-Wl,--version-script={script}"] if nodes else []
    output = work / library
    run("gcc", "-w", "-O1", "-fPIC", "-fno-builtin", "-c", refusals, "-o", work / f"{library}.o")
    run("g++", "-shared", f"-Wl,-soname,{library}", *versions, *objects, work / f"{library}.o", *needs, "-o", output)
    return output


def main(headers: Path, work: Path) -> None:
    """Builds all libraries and links them into torch's own folder."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise SystemExit("torch is not installed")
    folder = Path(spec.origin).parent / "lib"
    libraries = sorted(path for path in folder.glob("lib*.so*") if path.is_file() and not path.is_symlink())
    needed, imported = needed_libraries(libraries), imported_symbols(libraries)
    if not needed:
        raise SystemExit("this torch is a build for CPUs")
    includes = [f"-I{path.parent}" for path in headers.rglob("cuda_runtime_api.h")]
    includes += [f"-I{path.parent.parent}" for path in headers.rglob("crt/host_defines.h")]
    work.mkdir(parents=True, exist_ok=True)
    runtime = next(name for name in needed if name.startswith("libcudart"))
    objects = [compile_object(SOURCES / f"{name}.cpp", work / f"{name}.o", *includes) for name in RUNTIME]
    built = [link(runtime, objects, symbols_of(runtime, imported), work)]
    for library in sorted(needed - {runtime}):
        macro = next((macro for prefix, macro in WRITTEN.items() if library.startswith(prefix)), None)
        part = [compile_object(SOURCES / "libraries.cpp", work / f"{macro}.o", f"-D{macro}")] if macro else []
        built.append(link(library, part, symbols_of(library, imported), work, built[0]))
    for path in built:
        place = folder / path.name
        place.unlink(missing_ok=True)
        place.symlink_to(path.resolve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
