"""The demo's page in a real browser: drawing, files, modes, and nothing from outside."""

import json
import os
import shutil
import threading
from pathlib import Path

from conftest import PROJECT
from demo.app import create_app
from hypersphere import datasets
from test_demo_images import enlarged, inverted, saved

import numpy as np
import pytest
from PIL import Image
from waitress import create_server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium found; install one, or name it in CHROMIUM"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
STROKES = json.loads((Path(__file__).parent / "strokes.json").read_text())


@pytest.fixture(scope="module")
def address(predictor):
    server = create_server(create_app(predictor), host="127.0.0.1", port=0, threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{server.effective_port}/"
    server.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """An open page. At the end: nothing came from outside, and the console has no error."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    complaints, requests = [], []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ["error", "warning"] else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.wait_for_load_state("networkidle")  # the map is there
    yield page
    page.close()
    assert not complaints
    assert all(url.startswith(address) for url in requests)


def draw(page, strokes):
    """Draw with the mouse, and wait for the answer to the last stroke."""
    box = page.locator("#pad").bounding_box()
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()
    settle(page)


def settle(page):
    """Wait for the answer to the newest change."""
    page.wait_for_selector("#answer[aria-busy=false]")


def verdict(page):
    return page.inner_text("#verdict")


@pytest.mark.parametrize("digit", STROKES["digits"])
def test_drawn_digits_are_named(digit, page):
    for strokes in STROKES["digits"][digit]:
        draw(page, strokes)
        assert verdict(page) == digit
        page.click("#clear")
        settle(page)
        assert verdict(page) == "Nothing drawn yet"


def test_drawn_shapes_and_letters_are_rejected(page):
    for name, strokes in STROKES["others"].items():
        draw(page, strokes)
        assert verdict(page) == "Not a digit", name
        page.keyboard.press("c")
        settle(page)


def test_the_switch_forces_a_scribble_into_a_digit(page):
    draw(page, STROKES["others"]["letter H"])
    assert verdict(page) == "Not a digit"
    page.click("#detect")
    assert verdict(page) in list("0123456789") and "every scribble is some digit" in page.inner_text("#reason")
    page.click("#detect")
    assert verdict(page) == "Not a digit"


def test_undo_takes_strokes_back(page):
    three, bar = STROKES["digits"]["3"][0], STROKES["others"]["letter H"][:1]
    draw(page, three + bar)
    spoiled = page.inner_text("#p-value")
    page.click("#undo")
    settle(page)
    assert verdict(page) == "3" and page.inner_text("#p-value") != spoiled
    page.focus("#pad")
    page.keyboard.press("z")
    settle(page)
    assert verdict(page) == "Nothing drawn yet"


def test_the_answer_says_why(page):
    draw(page, STROKES["digits"]["5"][0])
    assert page.locator("#bars li").count() == 10
    assert page.locator("#bars .first").inner_text().split()[0] == "5"
    assert page.locator("#nearest canvas").count() == 5
    assert "p = " in page.inner_text("#p-value")
    assert "p-value" in page.get_attribute("#scale", "aria-label")
    drawn = (
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(value => value)"
    )
    assert page.eval_on_selector("#map", drawn) and page.eval_on_selector("#seen", drawn)


def test_a_chosen_a_dropped_and_a_pasted_file(page, tmp_path):
    _, _, (x, _) = datasets.load_mnist()  # a seven, a two, a one
    (tmp_path / "seven.png").write_bytes(saved(inverted(enlarged(x[0, ..., 0]))))
    page.set_input_files("#file", tmp_path / "seven.png")
    settle(page)
    assert verdict(page) == "7"
    hand_over = """(pad, [event, kind, key, content]) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(content)], "digit.png", {type: "image/png"}));
        pad.dispatchEvent(new window[kind](event, {[key]: held, bubbles: true, cancelable: true}));
    }"""
    for image, *event, digit in [
        (x[1], "drop", "DragEvent", "dataTransfer", "2"),
        (x[2], "paste", "ClipboardEvent", "clipboardData", "1"),
    ]:
        page.eval_on_selector("#pad", hand_over, [*event, list(saved(enlarged(image[..., 0])))])
        settle(page)
        assert verdict(page) == digit


def test_a_file_that_is_no_picture_is_explained(browser, address, tmp_path):
    page = browser.new_page()  # its console tells of the answer 415
    page.goto(address)
    (tmp_path / "notes.txt").write_text("seven")
    page.set_input_files("#file", tmp_path / "notes.txt")
    settle(page)
    assert verdict(page) == "Cannot read this" and "not a picture" in page.inner_text("#reason")
    page.close()


def test_a_large_photograph_is_made_smaller(page, tmp_path):
    _, _, (x, _) = datasets.load_mnist()
    paper = np.asarray(inverted(enlarged(x[0, ..., 0])).resize((3000, 3000)), np.int16)
    noisy = np.uint8(np.clip(paper + np.random.default_rng(0).integers(-20, 20, paper.shape), 0, 255))
    (tmp_path / "photo.png").write_bytes(saved(Image.fromarray(noisy)))
    assert (tmp_path / "photo.png").stat().st_size > 2_000_000
    page.set_input_files("#file", tmp_path / "photo.png")
    settle(page)
    assert verdict(page) == "7"


def test_a_key_in_the_middle_of_a_stroke(page):
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 150, steps=5)
    page.keyboard.press("c")
    page.mouse.move(box["x"] + 50, box["y"] + 150, steps=5)
    page.mouse.up()
    settle(page)
    assert verdict(page) == "Nothing drawn yet"
    draw(page, STROKES["digits"]["3"][0])
    assert verdict(page) == "3"


def test_the_answer_follows_the_stroke_on_a_slow_line(page):
    def slowly(route):
        page.wait_for_timeout(150)
        route.continue_()

    page.route("**/api/predict?explain", slowly)
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    seen = set()
    for step in range(60):
        page.mouse.move(box["x"] + 50 + 3 * (step % 50), box["y"] + 50 + 4 * (step % 40))
        page.wait_for_timeout(20)
        seen.add(verdict(page))
    assert len(seen) > 1
    page.mouse.up()
    settle(page)


def test_keyboard_and_labels(page):
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached[:5] == ["pad", "undo", "clear", "choose", "detect"]
    unnamed = (
        "elements => elements.filter(e => !e.getAttribute('aria-label') && !e.textContent.trim() && !e.labels?.length)"
    )
    assert page.eval_on_selector_all("button, input, canvas[id]", unnamed) == []
    assert page.locator("[aria-live=polite]").inner_text().startswith("Nothing drawn yet")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(scheme, browser, address):
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme, device_scale_factor=3)
    page.goto(address)
    draw(page, STROKES["digits"]["2"][0])
    assert verdict(page) == "2"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.getElementById('pad').width") >= 3 * 250  # crisp
    box = page.locator("#verdict").bounding_box()
    assert box["y"] + box["height"] < 740  # the answer is in view
    page.close()


def test_touch_draws(browser, address):
    context = browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(address)
    box = page.locator("#pad").bounding_box()
    session = context.new_cdp_session(page)

    def touch(kind, *points):
        places = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    for stroke in STROKES["digits"]["4"][0]:
        touch("touchStart", stroke[0])
        for point in stroke[1:]:
            touch("touchMove", point)
        touch("touchEnd")
    settle(page)
    assert verdict(page) == "4"
    context.close()


def test_screenshot(page, tmp_path):
    """The README's picture; SCREENSHOT=1 writes it to figures/."""
    draw(page, STROKES["others"]["asterisk"])
    folder = PROJECT / "figures" if os.environ.get("SCREENSHOT") else tmp_path
    page.screenshot(path=folder / "demo.png", full_page=True)
    assert (folder / "demo.png").stat().st_size > 20_000
