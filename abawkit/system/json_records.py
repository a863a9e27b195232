"""JSON records: a file that holds one object, read strictly and validated by a pydantic model."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from abawkit.errors import DataError, printable

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound="BaseModel")

MAX_RECORD: Final = 1 << 26
"""Bytes: several times the manifest of a submission of which every row was answered from another frame."""

_NOUNS: Final = {
    "string": "text",
    "object": "an object",
    "array": "a list",
    "number": "a number",
    "boolean": "a boolean",
}


def read_json(path: Path, model: type[Model], expected: str, remedy: str = "", limit: int = MAX_RECORD) -> Model:
    """Reads a JSON object that a model describes.

    Args:
        path: The file.
        model: What the object must be.
        expected: The same in words, for messages.
        remedy: What messages advise to do, if there is anything.
        limit: Maximum size, bytes.

    Raises:
        DataError: As `read_object`, or with the path of the first key at fault, what was found and what was expected.
    """
    from pydantic import ValidationError

    content = read_object(path, expected, remedy, limit)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {describe_errors(error, model)[0]}" + (f"; {remedy}" if remedy else "")) from error


def read_object(path: Path, expected: str, remedy: str = "", limit: int = MAX_RECORD) -> dict[str, Any]:
    """Reads a JSON object in which no key is repeated and every number is finite as it is written.

    Args:
        path: The file.
        expected: What it should be, for messages.
        remedy: What messages advise to do, if there is anything.
        limit: Maximum size, bytes.

    Raises:
        DataError: If the file can't be read, is no regular file, is too large or holds anything else.
    """
    advice = f"expected {expected}" + (f"; {remedy}" if remedy else "")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # to read a pipe may never end
            raise DataError(f"{path}: is not a regular file; {advice}")
        if (size := path.stat().st_size) > limit:
            raise DataError(f"{path}: has {size:,} bytes, at most {limit:,} are allowed; {advice}")
        content = json.loads(path.read_bytes(), parse_constant=_refuse_constant, object_pairs_hook=_make_object)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); {advice}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({printable(str(error)[:200])}); {advice}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds JSON, but no object; {advice}")
    return content


def describe_errors(error: "ValidationError", model: "type[BaseModel]") -> list[str]:
    """What a model does not accept, one line for each key: ``bias.Fear: got 1000.0, expected a number, -50..50``."""
    schema = model.model_json_schema()
    return [_describe_error(found, schema) for found in error.errors(include_url=False)]


def _describe_error(error: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    keys, kind = list(error["loc"]), error["type"]
    name = printable(".".join(str(key) for key in keys if key != "[key]"))
    prefix = f"{name}: " if name else ""
    if kind == "value_error":  # of a validator, whose message is whole
        return f"{prefix}{error['ctx']['error']}"
    if kind == "extra_forbidden":
        known = _find_schema(schema, keys[:-1]).get("properties", {})
        return f"{prefix}{describe_unknown_key(known)}"
    value = None if kind == "missing" else error["input"]
    found = "nothing" if value is None else printable(f"{value!r:.60}")
    return f"{prefix}got {found}, expected {_describe_schema(_find_schema(schema, keys))}"


def _find_schema(schema: Mapping[str, Any], keys: Sequence[str | int]) -> Mapping[str, Any]:
    """The part of a JSON schema that describes the value of these keys."""
    found: Mapping[str, Any] = schema
    for key in keys:
        if isinstance(key, int):
            found = found.get("items", {})
        else:
            found = found.get("properties", {}).get(key) or found.get("additionalProperties") or {}
        found = _resolve(found, schema)
    return found


def _resolve(part: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows a reference to another part of a schema; of alternatives takes the one that is not null."""
    found: Mapping[str, Any] = part if isinstance(part, Mapping) else {}
    for option in found.get("anyOf", ()):
        if option.get("type") != "null":
            found = option
            break
    if "$ref" in found:
        target: Any = schema
        for name in found["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return {**target, **found}
    return found


def _describe_schema(schema: Mapping[str, Any]) -> str:
    if "description" in schema and "properties" not in schema:
        return str(schema["description"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kind = schema.get("type", "")
    whole = kind == "integer" or "multipleOf" in schema
    noun = "a whole number" if whole else _NOUNS.get(kind, "another value")
    if "minimum" in schema and "maximum" in schema:
        return f"{noun}, {schema['minimum']:g}..{schema['maximum']:g}"
    if "minimum" in schema:
        return f"{noun}, at least {schema['minimum']:g}"
    return noun


def describe_unknown_key(known: Iterable[str]) -> str:
    """What is wrong with a key that is none of these."""
    return f"unknown key; expected any of {', '.join(sorted(known))}"


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("one key stands twice in an object")
    return found


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")
