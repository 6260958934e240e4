"""The pages in a real browser: clicks and keys lead to the right images, nothing is fetched, nothing complains.

Needs Debian's `chromium` and `chromium-driver`, and selenium; `.ci/run` installs them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.dataset.places import Places
from pipelines.inspection.explain import explain
from pipelines.inspection.explain_page import explain_page
from pipelines.report.drawing.gallery import HITS_SHOWN
from pipelines.runs.predictions import Predictions, read_predictions
from pipelines.runs.run import evaluate_run, report_run, train_run
from pipelines.spec.run_spec import ModelSpec, RunSpec, TrainSpec
from pipelines.stages.evaluate import images_of_rows
from pipelines.stages.prepare import prepare
from pipelines.studies.comparison import side_by_side
from pipelines.studies.comparison_page import write_comparison_page
from pipelines.studies.study import read_seed, seed_directory, summarised, train_seed
from pipelines.studies.study_page import write_study_page
from pipelines.training.rows import read_training_rows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no chromium to open the pages with", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser; install the extra 'oracles'")

SPEC = RunSpec(model=ModelSpec(hidden=(16,)), train=TrainSpec(epochs=3, batch_size=64, learning_rate=0.05))
OFF_DIAGONAL = [(i, j) for i in range(3) for j in range(3) if i != j]


@attrs.frozen
class Pages:
    """The pages of two real runs on the bundle's images, and where their numbers lie."""

    report: Path
    study: Path
    comparison: Path
    explain: Path
    run: Path
    other: Path
    places: Places


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Two seeds of a small network, as a study, the first with its report, the two compared."""
    root = tmp_path_factory.mktemp("pages")
    places = Places(cache=root / "cache", raw=root, out=root / "seed-000")
    run, other = seed_directory(root, 0), seed_directory(root, 1)
    finished = train_run(SPEC, places, now=datetime(2026, 1, 1))
    evaluation, _ = evaluate_run(SPEC, finished)
    files = report_run(SPEC, finished, evaluation)
    train_seed(SPEC, 1, root, places)
    seeds = [seed for seed in (read_seed(root, 0), read_seed(root, 1)) if seed is not None]
    study = write_study_page(root, summarised("small", evaluation.class_names, seeds), "bpfunc study")
    comparison = root / "comparison.html"
    write_comparison_page(comparison, side_by_side(run, other, places), "bpfunc compare A B")
    explained = root / "explain.html"
    explained.write_text(
        explain_page(explain(read_training_rows(finished.prepared.train), SPEC, evaluation.class_names))
    )
    return Pages(files.html, study, comparison, explained, run, other, places)


@pytest.fixture(scope="module")
def predictions(pages: Pages) -> Predictions:
    """What the network of the report says of every test row."""
    return read_predictions(pages.run)


class Browser:
    """Headless Chromium, and what it heard and fetched."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # Named, so that selenium does not look for one on the network.
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver") or "chromedriver")
        self.driver = webdriver.Chrome(options=options, service=service)

    def open(self, page: Path, *, width: int = 1280, script: bool = True, anchor: str = "") -> None:
        """Open a page anew, forgetting what came before."""
        self.run("Emulation.setScriptExecutionDisabled", value=not script)
        self.run("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.driver.get("about:blank")
        self.heard(), self.fetched()
        self.driver.get(page.as_uri() + (f"#{anchor}" if anchor else ""))

    def run(self, command: str, **options: object) -> None:
        """Run a command of the DevTools protocol."""
        self.driver.execute_cdp_cmd(command, options)

    def js(self, code: str, *arguments: object) -> object:
        """Evaluate an expression in the page."""
        return self.driver.execute_script(f"return {code.strip()}", *arguments)

    def heard(self) -> list[str]:
        """Messages on the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def fetched(self) -> list[str]:
        """Addresses asked for since the last call, but for what a page holds itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith("data:")]

    def click(self, selector: str) -> None:
        """Click what a CSS selector names, with a real pointer."""
        (place,) = self.driver.find_elements("css selector", selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", place)
        webdriver.ActionChains(self.driver).move_to_element(place).click().perform()

    def press(self, *keys: str) -> None:
        """Press keys."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self, attribute: str) -> str | None:
        """Read an attribute of the element that has the focus."""
        return self.driver.switch_to.active_element.get_attribute(attribute)

    def seen(self) -> list[str]:
        """Ids of the galleries that are to be seen."""
        galleries = self.driver.find_elements("css selector", ".gallery")
        return [gallery.get_attribute("id") for gallery in galleries if gallery.is_displayed()]

    def rows(self, selector: str) -> list[int]:
        """Rows in the original file of the images below a selector, drawn ones alone."""
        drawn = self.js(
            """
            [...document.querySelectorAll(arguments[0] + " [data-row]")].filter((tile) => {
                const image = tile.querySelector("img");
                return image.checkVisibility() && image.complete && image.naturalWidth === 28;
            }).map((tile) => Number(tile.dataset.row))""",
            selector,
        )
        assert isinstance(drawn, list)
        return drawn


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    browser = Browser()
    yield browser
    browser.driver.quit()


def behind(predictions: Predictions, true: int, predicted: int) -> list[int]:
    """Rows of a cell, from the predictions table."""
    says = predictions.probabilities.argmax(axis=1)
    return sorted(predictions.source_index[(predictions.label == true) & (says == predicted)].tolist())


def worst(predictions: Predictions) -> tuple[int, int]:
    """The cell off the diagonal with the most images."""
    return max(OFF_DIAGONAL, key=lambda cell: len(behind(predictions, *cell)))


def test_every_cell_leads_to_its_images(browser: Browser, pages: Pages, predictions: Predictions) -> None:
    """A click on a number opens one gallery: all its rows off the diagonal, some of its rows on it."""
    browser.open(pages.report)
    assert browser.seen() == []
    found = 0
    for true in range(3):
        for predicted in range(3):
            rows, anchor = behind(predictions, true, predicted), f"cell-{true}-{predicted}"
            if not rows:
                assert not browser.js(f"document.getElementById('{anchor}')")
                continue
            browser.click(f".confusion a[href='#{anchor}']")
            assert browser.seen() == [anchor]
            shown = browser.rows(f"#{anchor}")
            if true == predicted:
                assert len(set(shown)) == min(HITS_SHOWN, len(rows)) < len(rows)
                assert set(shown) < set(rows)
                assert f"{HITS_SHOWN} of them" in browser.js(f"document.getElementById('{anchor}').innerText")
            else:
                assert sorted(shown) == rows
            found += len(shown)
    assert found > 3 * HITS_SHOWN, "there is no mistake to click at"
    assert browser.heard() == []


def test_a_gallery_shows_the_very_pixels_of_the_file(browser: Browser, pages: Pages, predictions: Predictions) -> None:
    """Each image of the commonest mistake, read back from the screen's canvas, is its row of the test file."""
    cell = worst(predictions)
    browser.open(pages.report)
    browser.click(f".confusion a[href='#cell-{cell[0]}-{cell[1]}']")
    read = """
        (() => {
            const canvas = Object.assign(document.createElement("canvas"), {width: 28, height: 28});
            const pen = canvas.getContext("2d", {willReadFrequently: true});
            return [...document.querySelectorAll(arguments[0] + " [data-row]")].map((tile) => {
                pen.drawImage(tile.querySelector("img"), 0, 0, 28, 28);
                const grey = [...pen.getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0);
                return [Number(tile.dataset.row), grey];
            });
        })()"""
    shown = browser.js(read, f"#cell-{cell[0]}-{cell[1]}")
    assert isinstance(shown, list)
    prepared, _ = prepare(SPEC.dataset, source=None, cache=pages.places.cache, raw=pages.places.raw)
    images = images_of_rows(prepared.test, prepared.meta, np.array([row for row, _ in shown]))
    assert sorted(row for row, _ in shown) == behind(predictions, *cell)
    np.testing.assert_array_equal(np.array([grey for _, grey in shown]), images)


def test_the_whole_cell_can_be_clicked(browser: Browser, pages: Pages, predictions: Predictions) -> None:
    """A click near the corner of a coloured cell, away from its number, opens the gallery too."""
    anchor = "cell-{}-{}".format(*worst(predictions))
    browser.open(pages.report)
    (link,) = browser.driver.find_elements("css selector", f".confusion a[href='#{anchor}']")
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    corner = (link.size["width"] // 2 - 4, link.size["height"] // 2 - 4)
    webdriver.ActionChains(browser.driver).move_to_element_with_offset(link, *corner).click().perform()
    assert browser.seen() == [anchor]
    assert browser.focused("id") == anchor


VALUES = "[...document.querySelectorAll('.value')].filter((v) => v.checkVisibility({checkVisibilityCSS: true}))"


@pytest.mark.parametrize("script", [True, False])
def test_curves_tell_their_values_under_the_pointer(browser: Browser, pages: Pages, *, script: bool) -> None:
    """An epoch that is pointed at shows its values in place of those of the kept one, by the style sheet alone."""
    browser.open(pages.report, script=script)
    first = browser.driver.find_elements("css selector", ".chart .value")
    kept = [
        value.text for value in first if value.is_displayed() and value.value_of_css_property("visibility") != "hidden"
    ]
    assert len(kept) == 2
    assert all(text.startswith("epoch 3, kept: training ") for text in kept)
    (column, *_) = browser.driver.find_elements("css selector", ".chart .epoch rect")
    webdriver.ActionChains(browser.driver).scroll_to_element(column).move_to_element(column).perform()
    told = [v.text for v in first if v.value_of_css_property("visibility") == "visible"]
    assert told[0].startswith("epoch 1: training ")
    assert len(told) == 2
    assert told[1].startswith("epoch 1: training " if script else "epoch 3, kept: ")
    browser.run("Emulation.setScriptExecutionDisabled", value=False)


def test_curves_tell_their_values_to_keys(browser: Browser, pages: Pages) -> None:
    """A chart takes the focus; arrows, Home and End move along the epochs, and it says what they show."""
    browser.open(pages.report)
    browser.driver.execute_script("document.querySelector('.chart').focus()")
    assert browser.focused("role") == "slider"
    assert browser.focused("aria-label") == "Loss in nats, epoch by epoch"

    def told() -> str:
        (shown, *_) = browser.js(VALUES + ".map((value) => value.textContent)")  # type: ignore[misc]
        assert browser.focused("aria-valuetext") == shown
        return str(shown)

    assert told().startswith("epoch 3, kept: ")
    for key, expected in ((webdriver.Keys.ARROW_LEFT, 2), (webdriver.Keys.HOME, 1), (webdriver.Keys.ARROW_LEFT, 1)):
        browser.press(key)
        assert told().startswith(f"epoch {expected}: training ")
    browser.press(webdriver.Keys.END)
    assert told().startswith("epoch 3, kept: ")
    browser.press(webdriver.Keys.ARROW_LEFT, webdriver.Keys.TAB)
    shown = browser.js(VALUES + ".map((value) => value.textContent.slice(0, 13))")
    assert shown == ["epoch 3, kept"] * 2


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1280, 800), (390, 844)])
def test_the_first_screen_has_what_matters(browser: Browser, pages: Pages, width: int, height: int) -> None:
    """Title, accuracy, what it is compared with, and mistakes with image, classes and probability."""
    browser.open(pages.report, width=width)
    ends = browser.js(
        "['h1', '.headline', '.compared', '.strip li figcaption'].map((name) =>"
        " document.querySelector(name).getBoundingClientRect().bottom)"
    )
    assert isinstance(ends, list)
    assert ends == sorted(ends)
    assert ends[-1] <= height
    title = browser.js("document.querySelector('h1').textContent")
    assert title == "784-16-3, SGD 0.05, 3 epochs, 1 Jan 2026"


def test_keys_alone_lead_there_and_back(browser: Browser, pages: Pages, predictions: Predictions) -> None:
    """Tab reaches the cell, Enter opens and moves the focus along, Escape closes and gives it back."""
    cell = worst(predictions)
    anchor = f"cell-{cell[0]}-{cell[1]}"
    browser.open(pages.report)
    for _ in range(60):
        browser.press(webdriver.Keys.TAB)
        if (browser.focused("href") or "").endswith(f"#{anchor}"):
            break
    assert browser.focused("aria-expanded") == "false"
    label = browser.focused("aria-label")
    assert label is not None
    assert f"taken for {predictions.class_names[cell[1]]}" in label
    browser.press(webdriver.Keys.ENTER)
    assert browser.seen() == [anchor]
    assert browser.focused("id") == anchor
    assert browser.js(f"document.querySelector('a[href=\"#{anchor}\"]').ariaExpanded") == "true"
    assert sorted(browser.rows(f"#{anchor}")) == behind(predictions, *cell)
    browser.press(webdriver.Keys.ESCAPE)
    assert browser.seen() == []
    assert (browser.focused("href") or "").endswith(f"#{anchor}")
    assert browser.focused("aria-expanded") == "false"


def test_without_a_script_a_cell_still_opens(browser: Browser, pages: Pages, predictions: Predictions) -> None:
    """The style sheet alone shows what a link leads to."""
    anchor = "cell-{}-{}".format(*worst(predictions))
    browser.open(pages.report, script=False)
    (link,) = browser.driver.find_elements("css selector", f".confusion a[href='#{anchor}']")
    assert link.get_attribute("aria-expanded") is None, "the script ran"
    link.click()
    assert browser.seen() == [anchor]
    browser.driver.find_element("css selector", f"#{anchor} .back").click()
    assert browser.seen() == []
    browser.run("Emulation.setScriptExecutionDisabled", value=False)


def test_the_command_can_be_copied(browser: Browser, pages: Pages) -> None:
    """The button puts the command on the clipboard, character by character."""
    browser.open(pages.report)
    browser.run("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.click("button[data-copy]")
    copied = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == browser.js("document.getElementById('command').textContent")
    assert copied.startswith("bpfunc run --config ")


def test_the_comparison_shows_the_rows_that_differ(browser: Browser, pages: Pages) -> None:
    """The rows under each heading are those that the two predictions tables give."""
    a, b = read_predictions(pages.run), read_predictions(pages.other)
    np.testing.assert_array_equal(a.source_index, b.source_index)
    browser.open(pages.comparison)

    def expected(rows: NDArray[np.bool_]) -> list[int]:
        return sorted(a.source_index[rows].tolist())

    assert sorted(browser.rows("#a-better")) == expected(a.right & ~b.right) != []
    assert sorted(browser.rows("#b-better")) == expected(b.right & ~a.right) != []


@pytest.mark.parametrize("name", ["report", "study", "comparison"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_quiet_alone_and_fit(browser: Browser, pages: Pages, name: str, width: int) -> None:
    """Nothing on the console, nothing fetched but the page itself, and nothing wider than the screen."""
    page: Path = getattr(pages, name)
    browser.open(page, width=width)
    assert browser.js("document.images.length") == browser.js(
        "[...document.images].filter((i) => i.complete && i.naturalWidth === 28).length"
    )
    assert browser.js("document.documentElement.scrollWidth <= arguments[0]", width) is True
    assert browser.fetched() == [page.as_uri()]
    assert browser.heard() == []


@pytest.mark.parametrize("name", ["report", "study", "comparison", "explain"])
@pytest.mark.parametrize("anchor", ["%", "%E0%A4%A", "%00", "'\"<b>", "nowhere", "a[b=c]", "op=%&unit=%"])
def test_any_address_leaves_the_script_at_work(browser: Browser, pages: Pages, name: str, anchor: str) -> None:
    """What stands behind the ``#`` is from outside: a page opened there does all that it does elsewhere."""
    browser.open(getattr(pages, name), anchor=anchor)
    assert browser.heard() == []
    if name == "explain":
        place = "document.getElementById('place').textContent"
        assert (browser.js(place) or "").startswith("1 / ")
        browser.press(webdriver.Keys.ARROW_RIGHT)
        assert (browser.js(place) or "").startswith("2 / ")
    else:
        assert browser.js("document.querySelector('button[data-copy]').hidden") is False
    if name == "report":
        browser.click(".confusion a[href='#cell-0-0']")
        assert browser.seen() == ["cell-0-0"]
    assert browser.heard() == []


def test_planted_faults_are_noticed(browser: Browser, pages: Pages, tmp_path: Path) -> None:
    """The checks above can fail: an error, a fetch that the policy stops, and a page that is too wide."""
    bad = tmp_path / "bad.html"
    text = pages.study.read_text()
    bad.write_text(text.replace("<body>", '<body><img src="other.png" alt=""><p style="width:2000px">wide</p>'))
    browser.open(bad, width=390)
    assert any("other.png" in message for message in browser.heard())
    browser.open(bad, width=390)
    wide = browser.js("document.documentElement.scrollWidth")
    assert isinstance(wide, int)
    assert wide > 390
    unguarded = bad.read_text().replace("Content-Security-Policy", "none")
    bad.write_text(unguarded)
    browser.open(bad)
    assert any(address.endswith("other.png") for address in browser.fetched())
