"""The page of a step in a real browser: every control, every address, and each number on the screen that of the arrays.

Needs what `test_browser.py` needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest

import bpfunc as bp
from pipelines.inspection.explain import Explained, explain_moments, explain_step
from pipelines.inspection.explain_numbers import Found, Numbers, Plan, arrays_of, figure, numbers, plan
from pipelines.inspection.explain_page import write_explain_page
from pipelines.spec.run_spec import ModelSpec

ui = pytest.importorskip("selenium.webdriver.support.ui")

from tests.pipelines.test_browser import Browser, webdriver  # noqa: E402
from tests.pipelines.test_explain import NAMES, PLAIN, RICH, at, learn_rows, xor_step  # noqa: E402

Keys = webdriver.Keys
BLOCKS = ("conv 4", "conv 7", "pool")
IMAGES = attrs.evolve(PLAIN, model=ModelSpec(blocks=BLOCKS, hidden=(5,)))
WIDE = attrs.evolve(PLAIN, model=ModelSpec(hidden=(40, 5)))


@attrs.frozen(eq=False)
class Shown:
    """A page and the steps that it is of."""

    page: Path
    moments: list[Explained]
    drawn: Plan


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests, that moves little."""
    browser = Browser()
    browser.run("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    yield browser
    browser.driver.quit()


def shown(folder: Path, name: str, moments: list[Explained]) -> Shown:
    write_explain_page(folder / f"{name}.html", moments)
    return Shown(folder / f"{name}.html", moments, plan(moments))


def explain_moment_of_overflow() -> Explained:
    """A step whose gradients are not numbers."""
    model, transform = bp.serial(bp.dense(3), bp.relu(), bp.dense(2)), bp.sgd(0.1)
    state = bp.init_train_state(model, transform, bp.Key(0), (3,))
    inputs = (np.random.default_rng(3).normal(size=(2, 3)) * 1e38).astype(np.float32)
    found = explain_step(model, bp.cross_entropy(), transform, state, bp.Batch(inputs, np.array([0, 1])))
    dense = found.layers[0].dense
    assert dense is not None
    assert np.isnan(dense.weight_gradient).any()
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    """A wide network at two moments, one with everything, and exclusive or."""
    folder = tmp_path_factory.mktemp("steps")
    model, loss, transform, state, batch = xor_step()
    lines = {"learning_rate": 0.5, "update_formulas": ["w <- w - r g"]}
    return {
        "wide": shown(folder, "wide", list(explain_moments(learn_rows(), WIDE, NAMES, (0, 3, 5)))),
        "rich": shown(folder, "rich", list(explain_moments(learn_rows(), RICH, NAMES, (5,)))),
        "images": shown(folder, "images", list(explain_moments(learn_rows(), IMAGES, NAMES, (0, 3)))),
        "xor": shown(folder, "xor", [explain_step(model, loss, transform, state, batch, name="XOR", **lines)]),
        "odd": shown(folder, "odd", [explain_moment_of_overflow()]),
    }


def visit(browser: Browser, page: Path, address: str) -> None:
    browser.driver.get("about:blank")
    browser.driver.get(f"{page.as_uri()}{address}")


NUMBERS = """
    [...document.querySelectorAll("#panels data")].filter((place) => place.checkVisibility())
        .map((place) => [place.textContent, Number(place.value), place.dataset.of || "", place.dataset.find || ""])"""


def meant(found: Numbers, group: int, words: str) -> Found | None:
    """What a number should be by its name, found by Python for the same example and units."""
    kind, *rest = words.split(":")
    if kind == "number":
        layer = found.drawn.groups[group].dense if rest[1] == "*" else int(rest[1])
        assert layer is not None
        return found.number(rest[0], layer)
    if kind == "outcome":
        return found.outcome(rest[0])
    if kind == "at":
        return found.at(rest[0], found.example, int(rest[1]))
    return found.factor(rest[0], int(rest[1]), int(rest[2])) if kind == "factor" else None


def check_meaning(browser: Browser, page: Shown, moment: int, example: int, group: int, unit: int) -> None:
    """Each visible number is the one that its name means for the chosen example and unit."""
    units = [one.strongest for one in page.drawn.groups]
    units[group] = unit
    found = attrs.evolve(numbers(page.drawn, moment, example), units=tuple(units))
    listed = browser.js(NUMBERS)
    assert isinstance(listed, list)
    for _, value, of, words in listed:
        if words and (expected := meant(found, group, words)) is not None:
            assert value == pytest.approx(expected.value, rel=1e-12), words
            assert of == expected.of, words


def check_numbers(browser: Browser, page: Shown, moment: int) -> int:
    """Each visible number that says where it stands is the one in the step's arrays; return how many did."""
    arrays = arrays_of(page.drawn, page.moments[moment])
    found = browser.js(NUMBERS)
    assert isinstance(found, list)
    for text, value, of, _ in found:
        assert text.strip("()") == figure(value)
        if of and of != "rate":
            assert value == at(arrays, of), of
    return sum(bool(of) for _, _, of, _ in found)


@pytest.mark.parametrize("name", ["wide", "rich", "images", "xor"])
def test_every_operation_shows_the_numbers_of_the_arrays(browser: Browser, pages: dict[str, Shown], name: str) -> None:
    """At each address, for two examples and two units, figures equal arrays, products multiply, pictures are drawn."""
    page = pages[name]
    dense = [number for number, group in enumerate(page.drawn.groups) if group.dense is not None]
    for moment, one in enumerate(page.moments):
        for op in range(1, page.drawn.operations + 1):
            for example, group in ((1, dense[0]), (2, dense[-1])):
                unit = page.drawn.groups[group].units[-1] + 1
                visit(browser, page.page, f"#op={op}&example={example}&unit={group}.{unit}&at={one.step}")
                assert browser.js("document.getElementById('scrubber').value") == str(op)
                assert len(browser.js("[...document.querySelectorAll('.operation')].filter((o) => !o.hidden)")) == 1
                assert check_numbers(browser, page, moment) > 4
                check_meaning(browser, page, moment, example - 1, group, unit - 1)
                assert browser.js("document.querySelector('#unit').value") == f"{group}.{unit}"
                boxes = "document.querySelectorAll('.unit-block:not([hidden]) .factor data')"
                factors = browser.js(f"[...{boxes}].map((box) => Number(box.value))")
                assert isinstance(factors, list)
                assert factors[-1] == pytest.approx(np.prod(factors[:-1]), rel=1e-12)
                layer = page.drawn.groups[group].dense
                arrays = arrays_of(page.drawn, one)
                share = factors[0] * float(arrays[f"d{layer}"][example - 1, unit - 1])
                assert factors[-1] == pytest.approx(share, rel=1e-3, abs=1e-9)
    assert browser.heard() == []


@pytest.mark.parametrize("name", ["wide", "rich", "images", "xor", "odd"])
def test_the_script_says_what_the_page_says_without_it(browser: Browser, pages: dict[str, Shown], name: str) -> None:
    """For the first example, every number that is readable without a script is the one that the script writes."""
    page = pages[name]
    listed = (
        "[...document.querySelectorAll('#panels data, #panels .terms, #panels [data-say]')].map((p) => p.textContent)"
    )
    browser.open(page.page, script=False)
    assert not browser.js("document.documentElement.classList.contains('js')")
    assert browser.js("[...document.querySelectorAll('.operation')].every((o) => o.checkVisibility())")
    assert not browser.js("[...document.querySelectorAll('#controls, #units')].some((o) => o.checkVisibility())")
    plain = browser.js(listed.replace("#panels", ".operation"))
    assert isinstance(plain, list)
    first = sorted(plain)
    browser.run("Emulation.setScriptExecutionDisabled", value=False)
    for op in range(1, page.drawn.operations + 1):
        visit(browser, page.page, f"#op={op}")
        written = browser.js(listed)
        assert isinstance(written, list)
        assert sorted(written) == first, op
        column = int(browser.js("document.querySelector('.operation:not([hidden])').dataset.column"))  # type: ignore[call-overload]
        if (
            0 < column <= len(page.moments[0].layers)
            and page.drawn.groups[page.drawn.group_of(column - 1)].dense is not None
        ):
            group = page.drawn.group_of(column - 1)
            assert browser.js("document.querySelector('.unit-block:not([hidden])').dataset.group") == str(group)


def hash_of(browser: Browser) -> str:
    found = browser.js("location.hash")
    assert isinstance(found, str)
    return found


PIXELS = """(async () => {
    const found = [];
    for (const image of document.querySelectorAll(".network.wide .map")) {
        const shown = new Image();
        shown.src = image.getAttribute("href");
        await shown.decode();
        const pen = Object.assign(document.createElement("canvas"), { width: shown.width, height: shown.height })
            .getContext("2d");
        pen.drawImage(shown, 0, 0);
        const { data } = pen.getImageData(0, 0, shown.width, shown.height);
        const sign = (i) => (data[4 * i] > 99 ? -1 : 1), length = data.length / 4;
        const row = Array.from({ length }, (_, i) => (sign(i) * data[4 * i + 3]) / 255);
        found.push([Number(image.dataset.column) - 1, Number(image.dataset.map), shown.height, shown.width, row]);
    }
    return found;
})()"""


def test_every_picture_of_a_channel_is_that_of_the_arrays(browser: Browser, pages: dict[str, Shown]) -> None:
    """Forward its activations, backward its deltas, pixel by pixel; of few channels all, of many the strongest."""
    page = pages["images"]
    drawn = page.drawn
    held = [None if of is None else of.channels for of in drawn.maps]
    assert [one and len(one) for one in held] == [1, 4, 4, 5, 5, 5, None, None, None, None]
    forward, ends = len(drawn.maps) + 2, drawn.operations - 2
    for operation, letter in ((forward, "y"), (ends, "d")):
        for moment, example in ((0, 1), (1, 0)):
            step = page.moments[moment].step
            visit(browser, page.page, f"#op={operation}&example={example + 1}&at={step}")
            arrays = page.moments[moment].layers
            listed = browser.js(PIXELS)
            assert isinstance(listed, list)
            assert len(listed) == sum(len(one) for one in held if one)
            for layer, index, height, width, row in listed:
                maps = drawn.maps[layer]
                assert maps is not None
                whole = getattr(arrays[layer], "dy" if letter == "d" else "y")[example].reshape(maps.shape)
                assert (height, width) == maps.shape[:2]
                limit = np.abs(whole[..., list(maps.channels)]).max()
                expected = whole[..., maps.channels[index]].ravel() / limit
                strong = np.abs(expected) > 0.02  # of paler ones the colour is lost in the rounding
                assert np.allclose(np.array(row)[strong], expected[strong], atol=0.006), (layer, index, letter)
                assert np.abs(np.array(row)[~strong]).max(initial=0) < 0.03


def test_every_control_leads_to_its_address(browser: Browser, pages: dict[str, Shown]) -> None:
    """Buttons, slider, keys, choices, clicks and swipes; each address opened anew shows the same view."""
    page = pages["wide"]
    last = page.drawn.operations
    browser.open(page.page)
    units = page.drawn.groups[1].units
    assert browser.js("document.getElementById('place').textContent").startswith(f"1 / {last}")

    def expect(*parts: str) -> None:
        found = hash_of(browser)
        assert all(part in f"{found}&" for part in (f"{part}&" for part in parts)), (found, parts)
        view = """
            [document.getElementById('panels').innerText,
             [...document.querySelectorAll('.network.wide *')].map((part) =>
                [...part.attributes].map(({name, value}) => `${name}=${value.split(' ').sort().join(' ')}`)
                    .filter((words) => words !== 'class=').sort().join() + part.textContent)]"""
        before = browser.js(view)
        browser.driver.execute_script("window.kept = 1")
        visit(browser, page.page, found)
        assert browser.js("window.kept === undefined")
        assert browser.js(view) == before
        assert hash_of(browser) == found

    browser.click("#next")
    expect("#op=2", "example=1")
    browser.click("#next")
    browser.click("#previous")
    expect("#op=2")
    for key, op in ((Keys.ARROW_RIGHT, 3), (Keys.ARROW_LEFT, 2), (Keys.END, last), (Keys.HOME, 1), (Keys.PAGE_DOWN, 2)):
        browser.driver.execute_script("document.activeElement.blur()")
        browser.press(key)
        expect(f"#op={op}")
    browser.driver.execute_script("document.getElementById('scrubber').focus()")
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    expect("#op=4")
    browser.click("#examples label:nth-child(2)")
    expect("example=2")
    browser.driver.execute_script("document.querySelector('#examples input:checked').focus()")
    browser.press(Keys.ARROW_RIGHT)
    expect("#op=4", "example=3")
    browser.click("#moments label:nth-child(3)")
    expect("at=5", "example=3")
    browser.click("#moments label:nth-child(2)")  # a last batch, of two examples
    expect("at=3", "example=2")
    browser.click(f".network.wide .unit[data-column='1'][data-unit='{units[3]}']")
    expect(f"unit=1.{units[3] + 1}")
    ui.Select(browser.driver.find_element("id", "unit")).select_by_value("2.2")
    expect("unit=2.2")
    box = browser.driver.find_element("id", "weight")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys("7", Keys.TAB)
    expect("unit=2.2", "weight=7")
    browser.driver.find_element("id", "weight").clear()  # the one with the largest input times gradient again
    assert "weight" not in hash_of(browser)
    browser.click(".unit-block:not([hidden]) [data-picture='w']")
    assert hash_of(browser).partition("weight=")[2].partition("&")[0] in {"18", "25"}  # the middle of 6 rows, 7 columns
    expect("unit=2.2")


def test_a_finger_turns_over(browser: Browser, pages: dict[str, Shown]) -> None:
    """A swipe to the left over the drawing goes on, one to the right goes back."""
    browser.open(pages["xor"].page, width=390)
    browser.run("Emulation.setTouchEmulationEnabled", enabled=True)
    place = browser.js(
        "(() => { const r = document.querySelector('#drawing').getBoundingClientRect(); return [r.x, r.y + 60]; })()"
    )
    assert isinstance(place, list)
    for start, end, op in ((300, 100, 2), (300, 100, 3), (100, 300, 2)):
        y = place[1]
        browser.run("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": start, "y": y}])
        browser.run("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": end, "y": y}])
        browser.run("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        assert f"#op={op}&" in hash_of(browser)
    browser.run("Emulation.setTouchEmulationEnabled", enabled=False)


def test_play_goes_on_and_stops(browser: Browser, pages: dict[str, Shown]) -> None:
    """Play turns over by itself to the end, and Pause stops it."""
    browser.open(pages["xor"].page)
    browser.driver.execute_script("const real = setInterval; window.setInterval = (f) => real(f, 20)")
    browser.click("#play")
    ui.WebDriverWait(browser.driver, 20).until(lambda _: f"#op={pages['xor'].drawn.operations}&" in hash_of(browser))
    assert browser.js("document.getElementById('play').getAttribute('aria-pressed')") == "false"
    browser.driver.execute_script("window.setInterval = () => 1")
    browser.click("#play")
    assert "#op=1&" in hash_of(browser)
    assert browser.js("document.getElementById('play').textContent") == "Pause"
    browser.click("#play")
    assert browser.js("document.getElementById('play').textContent") == "Play"


def test_arrows_are_left_to_what_scrolls(browser: Browser, pages: dict[str, Shown]) -> None:
    """A table that scrolls and has the focus keeps its arrow keys; so do boxes."""
    page = pages["wide"]
    visit(browser, page.page, f"#op={page.drawn.operations - 1}")
    browser.run("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    visit(browser, page.page, f"#op={page.drawn.operations - 1}")
    browser.driver.execute_script("document.querySelector('.operation:not([hidden]) .scroll').focus()")
    browser.press(Keys.ARROW_LEFT)
    assert browser.js("document.getElementById('scrubber').value") == str(page.drawn.operations - 1)
    browser.driver.execute_script("document.getElementById('weight').focus()")
    browser.press(Keys.ARROW_LEFT)
    assert browser.js("document.getElementById('scrubber').value") == str(page.drawn.operations - 1)
    browser.driver.execute_script("document.activeElement.blur()")
    browser.press(Keys.ARROW_LEFT)
    assert browser.js("document.getElementById('scrubber').value") == str(page.drawn.operations - 2)


@pytest.mark.parametrize(
    "address",
    ["#%", "#%E0%A4%A", "#op=0", "#op=999999999", "#op=-1&example=x", "#unit=9.9", "#unit=1.99999", "#op=3&op=4&at=77",
     "#example=99&weight=999999", "#unit=1.1&weight=0", "#op=5&example=3&unit=1.17", "#<script>", "#op=2e3"],
)  # fmt: skip
def test_any_address_is_survived(browser: Browser, pages: dict[str, Shown], address: str) -> None:
    """What is behind the # may be anything: the page shows a view, the buttons work, nothing complains."""
    for name in ("wide", "xor"):
        browser.open(pages[name].page)
        visit(browser, pages[name].page, address)
        before = int(browser.js("document.getElementById('scrubber').value"))  # type: ignore[call-overload]
        assert check_numbers(browser, pages[name], 0) > 4
        browser.click("#previous" if before == pages[name].drawn.operations else "#next")
        assert browser.js("document.getElementById('scrubber').value") != str(before)
        browser.driver.execute_script("location.hash = arguments[0]", address)
        assert browser.heard() == []


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("name", ["wide", "rich", "images", "xor"])
def test_the_page_is_quiet_alone_and_fits(browser: Browser, pages: dict[str, Shown], name: str, width: int) -> None:
    """Nothing on the console, nothing fetched, nothing wider than the screen; the drawing stays in view."""
    page = pages[name]
    browser.open(page.page, width=width)
    for op in range(1, page.drawn.operations + 1):
        browser.driver.execute_script("location.hash = arguments[0]", f"#op={op}")
        assert browser.js("document.documentElement.scrollWidth <= arguments[0]", width) is True, op
    browser.driver.execute_script("scrollTo(0, document.body.scrollHeight)")
    assert browser.js("document.getElementById('stage').getBoundingClientRect().top") in (0, 0.0)
    assert [address.partition("#")[0] for address in browser.fetched()] == [page.page.as_uri()]
    assert browser.heard() == []
    unnamed = browser.js(
        "[...document.querySelectorAll('button, input, select, .scroll')].filter((e) => e.checkVisibility() && "
        "!(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"
    )
    assert unnamed == 0


def test_paper_has_the_whole_sequence(browser: Browser, pages: dict[str, Shown]) -> None:
    """What is printed are all operations and units, with the numbers of the chosen example and moment."""
    page = pages["wide"]
    visit(browser, page.page, "#op=4&example=2&at=5")
    browser.driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.js(
        "[...document.querySelectorAll('.operation, .unit-block')].every((part) => part.checkVisibility())"
    )
    assert check_numbers(browser, page, 2) > 50
    check_meaning(browser, page, 2, 1, 2, page.drawn.groups[2].strongest)
    browser.driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert len(browser.js("[...document.querySelectorAll('.operation')].filter((o) => !o.hidden)")) == 1


def test_motion_is_for_those_who_want_it(browser: Browser, pages: dict[str, Shown]) -> None:
    """Lines move only where less motion is not asked for."""
    moves = "getComputedStyle(document.querySelector('.edges.lit line')).animationName"
    for value, expected in (("no-preference", "forward"), ("reduce", "none")):
        browser.run("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": value}])
        visit(browser, pages["xor"].page, "#op=2")
        assert browser.js(moves) == expected
