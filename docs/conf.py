"""The pages as a site: `make site`. Pages are Markdown and a notebook; nothing in them is for Sphinx."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

project = "abawkit"
author = "the authors of abawkit"
version = release = re.findall(r'__version__ = "(.*)"', (ROOT / "abawkit/__init__.py").read_text())[0]

extensions = ["myst_nb"]
nb_execution_mode = "off"  # a test runs the notebook; outputs are not kept
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "docs/*.ipynb",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "csrc/README.md",
    "examples/**/README.md",
    "submissions/README.md",
    "submissions/*/README.md",
]
exclude_patterns = ["**/.*", "build", "**/*.egg-info"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nitpicky = True

html_theme = "furo"
html_title = "abawkit"
html_copy_source = False
html_show_sphinx = False
html_extra_path = ["site"]

CHAPTERS = {
    "Start": ["getting-started", "tutorial"],
    "How-to guides": "how-to",
    "Reference": "reference",
    "Explanation": "explanation",
    "Benchmarks": ["benchmarks"],
    "Repository": ["/README", "/CONTRIBUTING", "/CHANGELOG", "/SECURITY", "/csrc/README", "/submissions/README"],
}
"""The sidebar: pages, or the folder whose pages stand in the order in which the index links to them."""


def list_pages(folder: str, index: str) -> list[str]:
    """The pages of a folder of docs/, those first that the index links to."""
    found = [path.stem for path in (ROOT / "docs" / folder).glob("*.md")]
    places = {name: index.find(f"({folder}/{name}.md") % (len(index) + 1) for name in found}
    return [f"{folder}/{name}" for name in sorted(found, key=lambda name: (places[name], name))]


def add_sidebar(app: Any, name: str, content: list[str]) -> None:
    """Adds the tables of contents to the index, which on a forge needs none."""
    del app
    if name == root_doc:
        for title, pages in CHAPTERS.items():
            listed = list_pages(pages, content[0]) if isinstance(pages, str) else pages
            content[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *listed, "```", ""])
    elif name.startswith(("examples/", "submissions/")):
        content[0] = f"---\norphan: true\n---\n{content[0]}"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_sidebar)
