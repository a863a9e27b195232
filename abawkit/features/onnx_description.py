"""The TOML file beside an ONNX file, which says what the file expects of a frame; read without torch."""

import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from abawkit.errors import ConfigError, DataError, printable
from abawkit.system.files import decode_text
from abawkit.system.json_records import describe_errors

ONNX_SUFFIX: Final = ".onnx"

ONNX_RUNTIME: Final = "onnxruntime"
_EXAMPLE: Final = (
    "expected:\n"
    "  size = 224                       # side of the square frames, in pixels\n"
    "  mean = [0.485, 0.456, 0.406]     # of red, green and blue, on a scale of 0 to 1\n"
    "  deviation = [0.229, 0.224, 0.225]\n"
    '  layout = "NCHW"                  # or "NHWC"\n'
    '  output = "features"              # name of the output'
)

_Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1000, le=1000)]
_Divisor = Annotated[float, Field(allow_inf_nan=False, ge=1e-6, le=1000)]


class OnnxDescription(BaseModel):
    """What an ONNX file expects of a frame, and which of its outputs are the features.

    Attributes:
        size: Side of the square frames that it takes, in pixels.
        mean: What is subtracted from red, green and blue, on a scale of 0 to 1.
        deviation: What each of them is then divided by, on the same scale.
        layout: Order of the input's axes: frames, then channels (C), height (H) and width (W).
        output: Name of the output that holds the features.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[int, Field(strict=True, ge=8, le=1024)]
    mean: tuple[_Finite, _Finite, _Finite]
    deviation: tuple[_Divisor, _Divisor, _Divisor]
    layout: Literal["NCHW", "NHWC"]
    output: str


def read_onnx_description(path: Path) -> OnnxDescription:
    """Reads the TOML file beside an ONNX file.

    Raises:
        DataError: If it is absent, not TOML, or a key or value is not what it must be; each is named.
    """
    try:
        content = tomllib.loads(decode_text(path.read_bytes()))
    except OSError as error:
        raise DataError(
            f"{path}: can't be read ({error.strerror}); it says what the ONNX file expects; {_EXAMPLE}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not TOML: {printable(str(error))}; {_EXAMPLE}") from error
    try:
        return OnnxDescription.model_validate(content)
    except ValidationError as error:
        problems = [f"{path}: {problem}" for problem in describe_errors(error, OnnxDescription)]
        raise DataError("\n".join([*problems, _EXAMPLE])) from error


def refuse_absent_runtime(path: Path) -> None:
    """Refuses an ONNX file where onnxruntime is not installed, before anything is imported.

    Raises:
        ConfigError: If it is not.
    """
    if find_spec(ONNX_RUNTIME) is None:
        raise ConfigError(f"{path}: needs {ONNX_RUNTIME}, which is not installed: pip install 'abawkit[onnx]'")
