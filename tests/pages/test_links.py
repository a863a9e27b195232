"""Links between pages lead somewhere, and every page is found from the index."""

import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

from tests.pages.markdown import INDEX, ROOT, anchors, blocks, links, name, pages, prose
from tests.test_layers import RANK


def resolve(page: Path, link: str) -> tuple[Path, str]:
    """The file and the anchor that a relative link of a page leads to."""
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def relative_links(page: Path) -> list[str]:
    return [link for link in links(page) if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_relative_link_resolves(page: Path) -> None:
    lost = []
    for link in relative_links(page):
        target, anchor = resolve(page, link)
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_page_is_reached_from_the_index() -> None:
    reached, waiting = {INDEX}, [INDEX]
    while waiting:
        page = waiting.pop()
        for link in relative_links(page):
            target, _ = resolve(page, link)
            if target.suffix == ".md" and target.exists() and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert [name(page) for page in pages() if page not in reached] == []


def test_every_page_of_docs_is_in_the_index_itself() -> None:
    listed = {resolve(INDEX, link)[0] for link in relative_links(INDEX)}
    assert [name(page) for page in (ROOT / "docs").rglob("*.md") if page not in {*listed, INDEX}] == []


def test_the_readme_is_short_and_leads_to_the_index() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_text().splitlines()) <= 150
    assert "docs/index.md" in relative_links(readme)


def test_no_placeholder_is_left() -> None:
    words = [word for page in pages() for word in re.findall(r"\b[A-Z]+_[A-Z]+\b", prose(page))]
    variables = ("ABAWKIT_", "GOMP_", "GPU_", "MASTER_", "SLURM_", "STANDIN_", "WANDB_", "XDG_")
    assert {word for word in words if not word.startswith(variables)} == {"CCC_V", "CCC_A"}


def test_the_constraints_pin_everything_that_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[><=]", requirement)[0].lower() for requirement in project["dependencies"]}
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    assert needed <= pinned
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


NAME = re.compile(r"`(abawkit(?:\.[A-Za-z_]\w*)+)[`(]")
FILE = re.compile(r"`((?:abawkit|benchmarks|csrc|examples|tests)/[\w./-]*)`")


@pytest.mark.parametrize("page", [page for page in pages() if page.name != "CHANGELOG.md"], ids=name)
def test_every_name_and_file_of_the_code_exists(page: Path) -> None:
    lost = [path for path in FILE.findall(prose(page)) if not (ROOT / path).exists()]
    for dotted in NAME.findall(prose(page)):
        try:
            pkgutil.resolve_name(dotted)
        except (AttributeError, ImportError):
            lost.append(dotted)
    assert lost == []


def test_the_tree_of_contributing_has_every_package() -> None:
    tree = next(block for block in blocks(ROOT / "CONTRIBUTING.md", "") if block.startswith("abawkit/\n"))
    listed = set(re.findall(r"\w+", tree))
    assert set(RANK) - {"__main__"} - listed == set()
