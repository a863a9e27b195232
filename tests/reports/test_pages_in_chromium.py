"""Every page that a command makes, in a browser: nothing is loaded, fails or is cut off, and all can read it."""

import importlib.util
import re
import warnings
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import product
from pathlib import Path

import pytest

import abawkit
from abawkit.curation import open_curated
from abawkit.errors import DataWarning
from abawkit.reports.page import write_page
from abawkit.reports.submission import make_submission_page
from abawkit.reports.submission_list import make_submission_list_page
from abawkit.submissions.slots import list_submissions, record_score, record_sent
from abawkit.submissions.workspace import SubmissionInputs
from tests.reports import test_ablation_page
from tests.reports.chromium import PROGRAM, Chromium
from tests.submissions.conftest import RECIPE, Bench, Commands

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")]

NAMES = ("curation", "training", "score", "comparison", "tuning", "submission", "submissions", "ablation")


def make_pages(folder: Path, release: Path, curated: Path) -> None:
    """Each page from what its command reads, as small as it gets; the ablation's from a table that is made up."""
    abawkit.curate(release, folder / "curated", report=folder / "curation.html", labels_only=True)
    run = folder / "run"
    abawkit.train("demo", curated, run, changes={"all.epochs": 2, "heads.epochs": 0}, threads=1)
    (run / "report.html").rename(folder / "training.html")
    predicted = folder / "predicted.txt"
    abawkit.predict(run, predicted, data=curated, split="validation", threads=1)
    abawkit.score(predicted, curated, report=folder / "score.html")
    others = [folder / "a-longer-name-than-usual-for-a-file.txt", folder / "c.txt"]
    for path in others:
        path.write_bytes(predicted.read_bytes())
    abawkit.compare([predicted, *others], curated, report=folder / "comparison.html")
    abawkit.tune(predicted.with_suffix(".npz"), curated, folder / "rule.json", folds=2, report=folder / "tuning.html")
    _make_submissions(folder, release, curated)
    write_page(folder / "ablation.html", test_ablation_page.make_page())


def _make_submissions(folder: Path, release: Path, curated: Path) -> None:
    root = folder / "submissions"
    inputs = SubmissionInputs(curated, release / "test_set_examples/MTL.txt", release / "test_data/cropped_aligned")
    for name, recipe in (("first", RECIPE), ("second", RECIPE.replace("[1, 2]", "[3, 4]"))):
        (root / name).mkdir(parents=True)
        (root / name / "recipe.toml").write_text(recipe)
        result = Bench(root, root / name, inputs, Commands(), []).submit()
    truth = open_curated(curated).splits["validation"].annotations
    write_page(folder / "submission.html", make_submission_page(result.folder, result.manifest, truth))
    record_sent(root, "first", slots=5, note="a first try")
    record_score(root, "first", 0.9)
    write_page(folder / "submissions.html", make_submission_list_page(root, *list_submissions(root), {}, truth))


@pytest.fixture(scope="module")
def pages(release: Path, curated: Path, once: Callable[..., Path]) -> Path:
    if not PROGRAM:
        pytest.skip("Chromium is not installed")

    def make(folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # the release is tiny
            make_pages(folder, release, curated)

    return once("pages", make)


@pytest.fixture(scope="module")
def browser(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_these_are_all_pages(pages: Path) -> None:
    assert {path.stem for path in pages.glob("*.html")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_fails_and_no_request_leaves_the_file(browser: Chromium, pages: Path, name: str) -> None:
    browser.open(pages / f"{name}.html")
    browser.evaluate("document.querySelectorAll('summary, thead button').forEach(each => each.click())")
    browser.evaluate("document.querySelectorAll('input').forEach(i => i.dispatchEvent(new Event('input')))")
    assert browser.errors == []
    address = (pages / f"{name}.html").as_uri()
    assert address in browser.requests
    assert [each for each in browser.requests if each != address and not each.startswith("data:image/png;")] == []


@pytest.mark.parametrize(("name", "dark"), list(product(NAMES, (False, True))))
def test_no_rule_of_accessibility_is_broken(browser: Chromium, pages: Path, name: str, dark: bool) -> None:
    if not importlib.util.find_spec("axe_core_python"):
        pytest.skip("axe-core is not installed: it is an extra, dev")
    browser.open(pages / f"{name}.html", dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text())
    run = "axe.run(document).then(r => r.violations.map(v => [v.id, ...v.nodes.slice(0, 3).map(n => n.html)]))"
    assert browser.evaluate(run) == []


OVERFLOWS = """(() => {
  const width = document.documentElement.scrollWidth;
  const cut = [...document.querySelectorAll('figure svg text')].filter(text => {
    const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
    return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
  });
  return [...(width > innerWidth ? [`the page is ${width} wide`] : []), ...cut.map(text => text.textContent)];
})()"""


@pytest.mark.parametrize(("name", "width"), list(product(NAMES, (390, 800, 1280))))
def test_no_page_is_wider_than_its_window_and_no_text_of_a_chart_is_cut(
    browser: Chromium, pages: Path, name: str, width: int
) -> None:
    browser.open(pages / f"{name}.html", width=width)
    assert browser.evaluate(OVERFLOWS) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_can_be_told_without_seeing_it_and_headings_are_in_order(
    browser: Chromium, pages: Path, name: str
) -> None:
    browser.open(pages / f"{name}.html")
    told = browser.evaluate(
        "[...document.querySelectorAll('figure')].map(f => [f.querySelector('svg[role=img] > title').textContent, "
        "f.querySelector('svg > desc').textContent, f.querySelectorAll('details table tbody tr').length])"
    )
    assert all(title and text and rows for title, text, rows in told)
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => h.tagName).join(' ')")
    assert re.fullmatch(r"H1( H2)+", levels)


def test_a_table_is_sorted_by_its_buttons_and_says_so(browser: Chromium, pages: Path) -> None:
    browser.open(pages / "ablation.html")
    read = "[...document.querySelector('table').tBodies[0].rows].map(row => row.cells[5].textContent)"
    press = "document.querySelectorAll('thead button')[4].click()"
    for order in ("descending", "ascending"):
        browser.evaluate(press)
        values = [float(text) for text in browser.evaluate(read)]
        assert values == sorted(values, reverse=order == "descending")
        assert browser.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == order


def test_on_paper_it_is_black_on_white_in_a_dark_theme_too(browser: Chromium, pages: Path) -> None:
    browser.open(pages / "submission.html", dark=True)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", media="print", features=[scheme])
    found = browser.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.documentElement))")
    assert found == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert browser.print().startswith(b"%PDF-")
    browser.call("Emulation.setEmulatedMedia", media="")


def test_colours_of_text_and_charts_can_be_told_from_what_they_stand_on() -> None:
    css = files("abawkit.reports").joinpath("page.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", theme)) for theme in re.findall(r":root \{(.*?)\}", css, re.DOTALL)]
    assert len(themes) == 3
    for theme in themes:
        for ground in ("page", "card"):
            for name in ("ink", "muted", "first", "second", "third"):
                assert measure_contrast(theme[name], theme[ground]) >= 4.5, (name, ground)


def measure_contrast(colour: str, other: str) -> float:
    """Contrast of two colours, 1 to 21. Source: WCAG 2.2, relative luminance and contrast ratio."""
    high, low = sorted((measure_luminance(colour), measure_luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def measure_luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
