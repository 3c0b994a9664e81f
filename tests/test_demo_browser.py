"""The demo's page in a real browser: drawing, files, modes, and nothing from outside."""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waitress import create_server

from conftest import PROJECT
from demo.app import create_app
from hypersphere import datasets
from picture_files import enlarged, inverted, saved

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium found; install one, or name it in CHROMIUM"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
STROKES = json.loads((Path(__file__).parent / "strokes.json").read_text())
SIGNS = json.loads((Path(__file__).parent / "signs.json").read_text())["test"]
DIGITS = [enlarged(image[..., 0]) for image in datasets.load_labelled("mnist", "test")[0][:3]]  # a seven, a two, a one


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
def visit(browser, address):
    """Opens the page, with options of `new_page`. At the end: nothing came from outside, the consoles have no error."""
    complaints, requests, pages = [], [], []

    def open_page(**options):
        page = browser.new_page(**options)
        page.on("console", lambda message: message.type in ["error", "warning"] and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.wait_for_load_state("networkidle")  # the map is there
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert all("503" in complaint for complaint in complaints), "of answers that are still to come a browser complains"
    assert all(url.removeprefix("blob:").startswith(address) for url in requests)


@pytest.fixture
def page(visit):
    return visit(viewport={"width": 1280, "height": 800}, color_scheme="light")


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
    """The answer to the newest change, once it is there."""
    settle(page)
    return page.inner_text("#verdict")


def choose(page, path, content):
    """Choose a file."""
    path.write_bytes(content)
    page.set_input_files("#file", path)


DRAWINGS = STROKES["digits"] | {"Not a digit": STROKES["others"].values()}


@pytest.mark.parametrize("word", DRAWINGS)
def test_drawn_digits_are_named_shapes_and_letters_rejected(word, page):
    for strokes in DRAWINGS[word]:
        draw(page, strokes)
        assert verdict(page) == word
        page.keyboard.press("c")
        assert verdict(page) == "Nothing drawn yet"


def test_the_answer_says_why(page):
    draw(page, STROKES["digits"]["5"][0])
    assert page.locator("#bars li").count() == 10
    assert page.locator("#bars .first").inner_text().split()[0] == "5"
    assert page.locator("#nearest canvas").count() == 5
    assert "p = " in page.inner_text("#p-value")
    assert "p-value" in page.get_attribute("#scale", "aria-label")
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(v => v)"
    assert page.eval_on_selector("#map", drawn) and page.eval_on_selector("#seen", drawn)


def test_a_chosen_a_dropped_and_a_pasted_file(page, tmp_path):
    seven, two, one = DIGITS
    choose(page, tmp_path / "seven.png", saved(inverted(seven)))
    assert verdict(page) == "7"
    hand_over = """(pad, [event, kind, key, content]) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(content)], "digit.png", {type: "image/png"}));
        pad.dispatchEvent(new window[kind](event, {[key]: held, bubbles: true, cancelable: true}));
    }"""
    for picture, *event, digit in [
        (two, "drop", "DragEvent", "dataTransfer", "2"),
        (one, "paste", "ClipboardEvent", "clipboardData", "1"),
    ]:
        page.eval_on_selector("#pad", hand_over, [*event, list(saved(picture))])
        assert verdict(page) == digit


def test_a_file_that_is_no_picture_is_explained(page, tmp_path):
    choose(page, tmp_path / "notes.txt", b"seven")
    assert verdict(page) == "Cannot read this" and "not a picture" in page.inner_text("#reason")


def photograph():
    """A noisy PNG file of 9 million pixels."""
    paper = np.asarray(inverted(DIGITS[0]).resize((3000, 3000)), np.int16)
    noise = np.random.default_rng(0).integers(-20, 20, paper.shape)
    content = saved(Image.fromarray(np.uint8(np.clip(paper + noise, 0, 255))))
    assert len(content) > 2_000_000
    return content


def svg(shape):
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{shape}</svg>'.encode()


STYLE = "<style>.a{fill:none;stroke:black;stroke-width:8}</style>"
SEVENS = {
    "photo.png": photograph,
    "stroke.svg": lambda: svg('<path d="M28 20 L72 20 L45 84" fill="none" stroke="black" stroke-width="8"/>'),
    "sheet.svg": lambda: svg(f"{STYLE}<path class='a' d='M28 20H72L45 84'/>"),
    "outline.svg": lambda: svg('<polygon points="26,16 78,16 48,86 40,84 64,24 26,24"/>'),
}


@pytest.mark.parametrize("name", SEVENS)
def test_a_large_photograph_and_drawn_files_are_read(name, page, tmp_path):
    choose(page, tmp_path / name, SEVENS[name]())
    assert verdict(page) == "7"


def test_keyboard_and_labels(page):
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel"))
    assert reached == ["pad", "undo", "clear", "choose", "a seven", "a heart", "a cat", "detect"]
    unnamed = "all => all.filter(e => !e.getAttribute('aria-label') && !e.textContent.trim() && !e.labels?.length)"
    assert page.eval_on_selector_all("button, input, canvas[id]", unnamed) == []
    assert page.locator("[aria-live]").text_content().startswith("Nothing drawn yet")


SCREENS = {"phone": (390, 844), "small phone": (360, 740), "lying phone": (844, 390), "at 200 %": (640, 400)}
SCREENS |= {"laptop": (1280, 800), "large": (1920, 1080)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_pad_and_verdict_are_on_every_screen_and_nothing_jumps(screen, scheme, visit):
    width, height = SCREENS[screen]
    page = visit(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=2)
    boxes = "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })"
    before = page.eval_on_selector_all("section, #pad, #verdict, #detect, #map", boxes)
    for drawn in [STROKES["digits"]["2"][0], STROKES["others"]["asterisk"]]:
        draw(page, drawn)
        assert page.eval_on_selector_all("section, #pad, #verdict, #detect, #map", boxes) == before
        page.click("#clear")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ["#pad", "#verdict", "#detect"]:
        box = page.locator(name).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height


def test_the_switch_forces_a_scribble_into_a_digit_and_nothing_contradicts_the_verdict(page):
    def words():
        return page.inner_text("#bars-title"), "no cluster" in page.inner_text("#map-title")

    draw(page, STROKES["others"]["asterisk"])
    for _ in range(2):
        assert verdict(page) == "Not a digit" and words() == ("If it had to be a digit", True)
        page.click("#detect")
        assert verdict(page) in list("0123456789") and words() == ("Which digit?", False)
        assert "every scribble is some digit" in page.inner_text("#reason")
        page.click("#detect")


def test_the_empty_page_says_what_it_is_for_and_has_drawings_to_try(page):
    assert "digit, or anything else" in page.inner_text("#reason") and page.is_visible("#ghost")
    for name, word in [("a seven", "7"), ("a heart", "Not a digit"), ("a cat", "Not a digit")]:
        page.click(f"[aria-label='{name}']")
        assert verdict(page) == word and not page.is_visible("#ghost")
    page.click("#clear")
    settle(page)
    assert page.is_visible("#ghost")


WATCH = """
() => {
    window.heard = [];
    window.words = [];
    const watch = (id, list) =>
        new MutationObserver(() => {
            const text = document.getElementById(id).textContent;
            if (text !== list.at(-1)?.text) list.push({ text, time: performance.now() });
        }).observe(document.getElementById(id), { childList: true, characterData: true, subtree: true });
    watch("announced", window.heard);
    watch("verdict", window.words);
}
"""


def test_a_slow_drawing_is_announced_once_and_does_not_flicker(page):
    page.evaluate(WATCH)
    box = page.locator("#pad").bounding_box()
    (stroke,) = STROKES["digits"]["8"][0]
    for i, (x, y) in enumerate(stroke):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        if i == 0:
            page.mouse.down()
        page.wait_for_timeout(80)
    page.wait_for_timeout(800)
    assert page.evaluate("window.heard") == []  # the pen is still down
    page.mouse.up()
    settle(page)
    page.wait_for_timeout(1500)
    words = page.evaluate("window.words")
    assert len(words) > 1 and np.diff([word["time"] for word in words]).min() >= 100
    (heard,) = page.evaluate("window.heard")
    assert heard["text"].startswith(verdict(page))


def test_the_arrow_keys_draw(page):
    page.focus("#pad")
    for key, times in [("ArrowUp", 8), (" ", 1), ("ArrowDown", 16), (" ", 1), ("ArrowRight", 3)]:
        for _ in range(times):
            page.keyboard.press(key)
    assert verdict(page) == "1"
    assert page.evaluate("window.scrollY") == 0
    page.keyboard.press("z")
    assert verdict(page) == "Nothing drawn yet"


def test_a_stroke_a_clearing_and_a_picture_can_be_undone_wherever_the_focus_is(page, tmp_path):
    choose(page, tmp_path / "seven.png", saved(DIGITS[0]))
    settle(page)
    draw(page, STROKES["digits"]["3"][0])
    three = page.inner_text("#p-value")
    draw(page, STROKES["others"]["letter H"][:1])
    assert page.inner_text("#p-value") != three
    page.click("#undo")
    assert verdict(page) == "3" and page.inner_text("#p-value") == three
    page.focus("#detect")
    page.keyboard.press("Control+z")
    assert verdict(page) == "7"
    page.click("#clear")
    assert verdict(page) == "Nothing drawn yet"
    page.focus("#choose")
    page.keyboard.press("z")
    assert verdict(page) == "7"


def test_without_javascript_the_page_says_what_is_missing(visit):
    words = visit(java_script_enabled=False).inner_text("noscript")
    assert "needs JavaScript" in words and "no pad" in words


def test_save_makes_a_card(page, tmp_path):
    assert not page.is_enabled("#save")
    draw(page, STROKES["others"]["asterisk"])
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "card.png")
    card = np.asarray(Image.open(tmp_path / "card.png").convert("RGB"))
    assert 0.1 < (card == 255).mean() < 0.9 and np.ptp(card.astype(int), axis=2).max() > 100  # a verdict in its colour


def teach(page, name, drawings):
    for drawing in drawings:
        page.click("#clear")
        draw(page, drawing)
        page.fill("#name", "")
        page.type("#name", name)
        page.keyboard.press("Enter")
        settle(page)


def test_three_drawings_teach_a_sign_that_lives_in_the_browser(page, visit):
    assert not page.is_enabled("#teach-button")
    teach(page, "zigzag W", SIGNS["W"][:2])  # its first letter does not undo
    assert "1 more" in page.inner_text("#taught") and verdict(page) != "zigzag W"
    teach(page, "zigzag W", SIGNS["W"][2:3])
    assert page.locator("#chips button").all_inner_texts() == ["zigzag W 3 ×"]
    page.reload()
    for drawing, word in [
        (SIGNS["W"][7], "zigzag W"),
        (STROKES["digits"]["5"][0], "5"),
        (STROKES["others"]["asterisk"], "Not a digit"),
        (SIGNS["W"][8], "zigzag W"),
    ]:
        page.click("#clear")
        draw(page, drawing)
        assert verdict(page) == word
    page.click("#detect")
    assert verdict(page) in list("0123456789")
    page.click("#detect")
    other = visit()
    draw(other, SIGNS["W"][8])
    assert verdict(other) != "zigzag W"
    page.click("#chips button")
    assert verdict(page) != "zigzag W" and page.locator("#chips button").count() == 0


def test_signs_and_examples_have_bounds(page):
    teach(page, "W", SIGNS["W"][:6])
    page.keyboard.press("Enter")  # the same drawing again
    settle(page)
    assert page.locator("#chips button").all_inner_texts() == ["W 5 ×"]
    assert "draw it again" in page.inner_text("#taught")
    for number in range(10):
        page.fill("#name", f"sign {number}")
        page.keyboard.press("Enter")
        settle(page)
    assert page.locator("#chips button").count() == 10 and "No more than 10" in page.inner_text("#taught")
    page.click("#forget")
    settle(page)
    assert page.locator("#chips button").count() == 0 and page.inner_text("#taught") == ""


def test_while_the_detector_is_fitted_the_page_says_so_and_asks_again(visit):
    page = visit()
    page.route("**/api/predict*", lambda route: route.fulfill(status=503, json={"error": "wait", "fitting": True}))
    page.click("#examples button")
    sync_api.expect(page.locator("#verdict")).to_have_text("One moment")
    assert page.inner_text("#reason") == "Wait."
    page.unroute("**/api/predict*")
    assert verdict(page) == "7"


@pytest.mark.parametrize("kept", ["{", "7", "null", '[{"name": 7}]', "[null]"])
def test_damaged_memory_is_passed_over(kept, page):
    page.evaluate("kept => localStorage.setItem('hypersphere.signs.' + document.body.dataset.detector, kept)", kept)
    page.reload()
    draw(page, STROKES["digits"]["5"][0])
    assert verdict(page) == "5"


def test_touch_draws(visit):
    page = visit(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    box = page.locator("#pad").bounding_box()
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        places = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    for stroke in STROKES["digits"]["4"][0]:
        touch("touchStart", stroke[0])
        for point in stroke[1:]:
            touch("touchMove", point)
        touch("touchEnd")
    assert verdict(page) == "4"


@pytest.mark.skipif(not os.environ.get("SCREENSHOT"), reason="SCREENSHOT=1 draws the README's picture anew")
def test_screenshot(page):
    draw(page, STROKES["others"]["asterisk"])
    page.screenshot(path=PROJECT / "figures" / "demo.png", full_page=True)
    page.set_viewport_size({"width": 1200, "height": 630})  # the preview of links
    page.screenshot(path=PROJECT / "demo" / "static" / "preview.png")
