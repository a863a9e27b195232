"""Pages that come out of the code are those of this code: where one is stale, `make docs` writes it anew."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import abawkit

DOCS = Path(__file__).parents[1] / "docs"


def load_generator() -> ModuleType:
    spec = spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


@pytest.mark.parametrize("path", GENERATOR.PAGES)
def test_a_generated_page_is_not_stale(path: str) -> None:
    assert GENERATOR.PAGES[path]() == (DOCS / path).read_text(encoding="utf-8"), f"docs/{path} is stale: run make docs"


def test_the_page_of_the_api_has_every_function_and_every_result() -> None:
    functions = {name for name in abawkit.__all__ if name != "__version__"}
    assert {*GENERATOR.FUNCTIONS} == functions
    text = (DOCS / "reference/api.md").read_text(encoding="utf-8")
    for name in functions:
        signature = text.partition(f"\n## {name}\n")[2].partition("\n```\n")[0]
        result = signature.rpartition(" -> ")[2]
        assert f"\n### {result}\n" in text, f"{name} returns {result}, which the page does not explain"
