"""The demo's page in a real browser: drawing, files, modes, and nothing from outside."""

import json
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from waitress import create_server

from conftest import PROJECT
from demo.app import create_app
from hypersphere import datasets
from picture_files import enlarged, saved

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium found; install one, or name it in CHROMIUM"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
STROKES = json.loads((Path(__file__).parent / "strokes.json").read_text())
DRAWINGS = STROKES["digits"] | {"Not a digit": STROKES["others"].values()}
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
    complaints, requests = [], []

    def open_page(**options):
        page = browser.new_page(**options)
        page.on("console", lambda message: message.type in ["error", "warning"] and complaints.append(message))
        page.on("pageerror", lambda error: complaints.append(error))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address, wait_until="networkidle")  # the map is there
        return page

    yield open_page
    for context in browser.contexts:  # each page has one of its own
        context.close()
    of_answers = ["api/predict" in getattr(complaint, "location", {"url": ""})["url"] for complaint in complaints]
    assert all(of_answers), "of answers that fail a browser complains by itself"
    assert all(url.removeprefix("blob:").startswith(address) for url in requests)


@pytest.fixture
def page(visit):
    return visit(viewport={"width": 1280, "height": 800}, color_scheme="light")


def draw(page, strokes):
    """Draw with the mouse, and wait for the answer to the last stroke."""
    page.locator("#pad").scroll_into_view_if_needed()
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
    settle(page)
    return page.inner_text("#verdict")


def choose(page, path, content):
    path.write_bytes(content)
    page.set_input_files("#file", path)


@pytest.mark.parametrize("word", DRAWINGS)
def test_drawn_digits_are_named_shapes_and_letters_rejected(word, page):
    for strokes in DRAWINGS[word]:
        draw(page, strokes)
        assert verdict(page) == word
        page.keyboard.press("c")
        assert verdict(page) == "Nothing drawn yet"


def test_the_answer_says_why(page):
    draw(page, STROKES["digits"]["5"][0])
    assert page.locator("#bars li").count() == 10 and page.locator("#bars .first").inner_text().split()[0] == "5"
    assert page.locator("#nearest canvas").count() == 5
    less, digits = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+", page.inner_text("#strange")))
    p_value = float(re.search(r"p = ([\d.]+\d)", page.inner_text("#p-value"))[1])
    assert digits == 8000 and p_value == pytest.approx((1 + digits - less) / (1 + digits), rel=0.05)
    assert "Stranger than" in page.get_attribute("#scale", "aria-label")
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(v => v)"
    assert page.eval_on_selector("#map", drawn) and page.eval_on_selector("#seen", drawn)


def test_a_dropped_a_pasted_and_a_wrong_file(page, tmp_path):
    hand_over = """(pad, [event, kind, key, content]) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(content)], "digit.png", {type: "image/png"}));
        pad.dispatchEvent(new window[kind](event, {[key]: held, bubbles: true, cancelable: true}));
    }"""
    events = [("drop", "DragEvent", "dataTransfer"), ("paste", "ClipboardEvent", "clipboardData")]
    for picture, event, digit in zip(DIGITS[1:], events, "21", strict=True):
        page.eval_on_selector("#pad", hand_over, [*event, list(saved(picture))])
        assert verdict(page) == digit
    choose(page, tmp_path / "notes.txt", b"seven")
    assert verdict(page) == "Cannot read this" and "not a picture" in page.inner_text("#reason")


def photograph():
    """A noisy PNG file of 9 million pixels, of more than 2 MB."""
    paper = np.asarray(ImageOps.invert(DIGITS[0]).resize((3000, 3000)), np.int16)
    noise = np.random.default_rng(0).integers(-20, 20, paper.shape)
    return saved(Image.fromarray(np.uint8(np.clip(paper + noise, 0, 255))))


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
    for name in ["pad", "undo", "clear", "choose", "a seven", "a heart", "a star", "calibrated"]:
        page.keyboard.press("Tab")
        assert page.evaluate("(e => e.id || e.ariaLabel || e.value)(document.activeElement)") == name
    unnamed = "all => all.filter(e => !e.getAttribute('aria-label') && !e.textContent.trim() && !e.labels?.length)"
    assert page.eval_on_selector_all("button, input, canvas[id]", unnamed) == []
    assert page.locator("[aria-live]").text_content().startswith("Nothing drawn yet")


SCREENS = {"phone": (390, 844), "small phone": (360, 740), "lying phone": (844, 390), "at 200%": (640, 400)}
SCREENS |= {"at 300%": (427, 300), "small": (480, 320), "narrow": (993, 800), "1200": (1200, 800)}
SCREENS |= {"laptop": (1280, 900), "large": (1920, 1080), "huge": (3840, 2160)}
BOXES = "all => all.map(e => e.getBoundingClientRect()).map(r => [r.x, r.y, r.width, r.height].map(Math.round))"
OUTSIDE = """
() => [...document.querySelectorAll("section *:not(.unseen, option)")].filter((element) => {
    const [own, card] = [element, element.closest("section")].map((e) => e.getBoundingClientRect());
    return own.width && (own.left < card.left || own.right > card.right + 0.5 || own.bottom > card.bottom + 0.5);
}).map((element) => element.outerHTML)
"""
ENLARGED = ["font-size: 200%", "letter-spacing: .12em; word-spacing: .16em; line-height: 1.5"]  # WCAG 1.4.4, 1.4.12


@pytest.mark.parametrize("text", ["", *ENLARGED])
@pytest.mark.parametrize(("width", "height"), SCREENS.values(), ids=SCREENS)
def test_the_layout_holds_on_every_screen_and_nothing_jumps(width, height, text, visit):
    page = visit(viewport={"width": width, "height": height}, device_scale_factor=1 if width > 2000 else 2)
    page.evaluate("text => (document.documentElement.style.cssText = text)", text)
    before = page.eval_on_selector_all("section, #pad, #verdict, #modes, #bars, #map", BOXES)
    for drawn in [STROKES["digits"]["2"][0], STROKES["others"]["asterisk"]]:
        draw(page, drawn)
        assert text or page.eval_on_selector_all("section, #pad, #verdict, #modes, #bars, #map", BOXES) == before
        assert page.evaluate(OUTSIDE) == []
        assert page.eval_on_selector("#verdict", "e => e.scrollWidth <= e.clientWidth"), "the whole word is there"
        page.evaluate("document.getElementById('clear').click()")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pad, buttons = (page.locator(name).bounding_box() for name in ["#pad", ".tools"])
    assert pad["width"] >= 199 and pad["height"] >= 199 and buttons["y"] >= pad["y"] + pad["height"]
    for name in ["#pad", "#verdict", "#modes"] + ["footer"] * (height in [900, 1080, 2160]):
        box = page.locator(name).bounding_box()
        assert text or (box["y"] >= 0 and box["y"] + box["height"] <= height), name


def test_three_verdicts_stand_side_by_side_and_nothing_contradicts_the_one_chosen(page):
    page.click("[aria-label='a star']")
    settle(page)
    small = {mode: page.inner_text(f"#by-{mode}") for mode in ["identify", "lof", "calibrated"]}
    assert small == {"identify": "8", "lof": "8", "calibrated": "Not a digit"}
    for mode, word in small.items():
        page.check(f"[value={mode}]")
        assert verdict(page) == word
        words = page.inner_text("#answer") + page.inner_text("#details")
        assert ("rejected" in words) == (mode != "identify") and ("LOF = " in words) == (mode == "lof")
        assert ("every scribble is some digit" in words) == (mode == "identify")
        assert ("If it had to be" in words) == ("no cluster" in page.inner_text("#map-title")) == (mode == "calibrated")
    page.wait_for_timeout(1000)
    assert "Identify: 8, LOF: 8, calibrated: Not a digit" in page.text_content("#announced")


def test_the_empty_page_says_what_it_is_for_and_has_drawings_to_try(page):
    assert "digit, or anything else" in page.inner_text("#reason") and page.is_visible("#ghost")
    for name, word in [("a seven", "7"), ("a heart", "Not a digit"), ("a star", "Not a digit")]:
        page.click(f"[aria-label='{name}']")
        assert verdict(page) == word and not page.is_visible("#ghost")
    page.click("#clear")
    settle(page)
    assert page.is_visible("#ghost")


def test_nothing_is_judged_while_the_pen_is_down(page):
    draw(page, STROKES["others"]["asterisk"][:1])
    page.wait_for_timeout(800)  # announced
    page.evaluate("""() => {
        window.seen = { verdict: [], announced: [], lifted: [] };
        for (const element of document.querySelectorAll("#verdict, #announced")) {
            const add = () => window.seen[element.id].push([performance.now(), element.textContent]);
            new MutationObserver(add).observe(element, { childList: true });
        }
        addEventListener("pointerup", () => window.seen.lifted.push(performance.now()));
    }""")
    box = page.locator("#pad").bounding_box()
    for x, y in STROKES["others"]["asterisk"][1]:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        page.mouse.down()
        page.wait_for_timeout(400)
        words = " ".join(map(page.inner_text, ["#verdict", "#reason", "#modes", "#details"]))
        assert "looks like a" in words and "Not a digit" not in words and "rejected" not in words
        red = "all => all.some(e => getComputedStyle(e).color === 'rgb(179, 64, 10)' && e.checkVisibility())"
        assert not page.eval_on_selector_all("#answer *, #details *", red)
    page.mouse.up()
    assert verdict(page) == "Not a digit"
    page.wait_for_timeout(1000)
    seen = page.evaluate("window.seen")
    (lifted,), (*_, (judged, word)), ((_, heard),) = seen["lifted"], seen["verdict"], seen["announced"]
    assert judged - lifted >= 240 and word == "Not a digit" and heard.startswith(word)
    assert all(text.startswith("looks like") for _, text in seen["verdict"][:-1])


def test_the_arrow_keys_draw(page):
    page.focus("#pad")
    for key, times in [("ArrowUp", 8), (" ", 1), ("ArrowDown", 16), (" ", 1), ("ArrowRight", 3)]:
        for _ in range(times):
            page.keyboard.press(key)
    assert verdict(page) == "1" and page.evaluate("window.scrollY") == 0
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
    page.focus("[value=calibrated]")
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


@pytest.mark.parametrize(("scheme", "ground"), [("light", (255, 255, 255)), ("dark", (32, 34, 38))])
def test_save_makes_a_card_in_the_pages_colours(scheme, ground, visit):
    page = visit(color_scheme=scheme)
    assert not page.is_enabled("#save")
    draw(page, STROKES["others"]["asterisk"])
    with page.expect_download() as download:
        page.click("#save")
    card = np.asarray(Image.open(download.value.path()).convert("RGB"))
    assert 0.3 < (card == ground).all(axis=2).mean() < 0.9
    assert np.ptp(card.astype(int), axis=2).max() > 100  # a verdict in its colour


def teach(page, name, drawings):
    page.fill("#name", "")
    page.type("#name", name)
    for drawing in drawings:
        draw(page, drawing)
        page.press("#name", "Enter")
        sync_api.expect(page.locator("#ghost")).to_be_visible()  # the pad is clear for the next
        settle(page)


def test_three_drawings_teach_a_sign_that_lives_in_the_browser(page, visit):
    page.press("#name", "Enter")
    assert "name" in page.inner_text("#taught")
    page.fill("#name", "sign")
    page.press("#name", "Enter")
    assert "Draw it" in page.inner_text("#taught")
    teach(page, "zigzag W", SIGNS["W"][:2])  # its first letter does not undo
    assert "1 more" in page.inner_text("#taught") and page.text_content("#dots") == "●●○"
    teach(page, "zigzag W", SIGNS["W"][2:3])
    assert page.input_value("#name") == "zigzag W" and page.text_content("#dots") == "●●●"
    assert page.locator("#chips button").all_inner_texts() == ["zigzag W (3) ×"]
    page.reload()
    five, asterisk = STROKES["digits"]["5"][0], STROKES["others"]["asterisk"]
    drawings = [(SIGNS["W"][7], "zigzag W"), (five, "5"), (asterisk, "Not a digit"), (SIGNS["W"][8], "zigzag W")]
    for drawing, word in drawings:
        page.click("#clear")
        draw(page, drawing)
        assert verdict(page) == word == page.inner_text("#by-calibrated")
    page.check("[value=identify]")
    assert verdict(page) in list("0123456789")
    page.check("[value=calibrated]")
    other = visit()
    draw(other, SIGNS["W"][8])
    assert verdict(other) != "zigzag W"
    page.click("#chips button")
    assert verdict(page) != "zigzag W" and page.locator("#chips button").count() == 0
    assert page.evaluate("document.activeElement.id") == "name"


def test_signs_and_examples_have_bounds_and_the_server_checks_names(page):
    teach(page, "W", SIGNS["W"][:6])
    assert page.locator("#chips button").all_inner_texts() == ["W (5) ×"]
    for number in range(9):
        teach(page, f"sign {number}", SIGNS["W"][:1])
    draw(page, SIGNS["W"][0])
    page.fill("#name", "one more")
    page.press("#name", "Enter")
    assert page.locator("#chips button").count() == 10 and "No more than 10" in page.inner_text("#taught")
    page.locator("#chips button").nth(4).click()
    assert page.evaluate("document.activeElement.textContent") == "sign 4 (1) ×"  # the one that follows
    settle(page)
    page.route("**/api/predict", lambda route: route.fulfill(status=400, json={"error": "this is no name"}))
    page.press("#name", "Enter")
    sync_api.expect(page.locator("#taught")).to_have_text("This is no name.")
    assert page.locator("#chips button").count() == 9


def test_while_the_detector_is_fitted_the_page_says_so_and_asks_again(page):
    page.route("**/api/predict*", lambda route: route.fulfill(status=503, json={"error": "wait", "fitting": True}))
    page.click("#examples button")
    sync_api.expect(page.locator("#verdict")).to_have_text("One moment")
    assert page.inner_text("#reason") == "Wait."
    page.unroute("**/api/predict*")
    assert verdict(page) == "7"


FAILURES = {
    "hangs": (lambda route: None, "The server has not answered in 5 seconds."),
    "cannot be reached": (lambda route: route.abort(), "The server cannot be reached."),
    "fails": (lambda route: route.fulfill(status=500, json={"error": "it failed"}), "It failed."),
    "fails otherwise": (lambda route: route.fulfill(status=502, body="<html>"), "The server has failed."),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_server_that_fails_is_called_so_and_asked_again(answer, reason, page):
    page.route("**/api/predict*", answer)
    page.click("#examples button")
    sync_api.expect(page.locator("#verdict")).to_have_text("No answer", timeout=10_000)
    assert page.inner_text("#reason") == reason
    page.unroute("**/api/predict*")
    page.click("#retry")
    sync_api.expect(page.locator("#verdict")).to_have_text("7")
    assert not page.is_visible("#retry") and page.evaluate("document.activeElement.id") == "pad"


KEPT = [("{", 0), ("7", 0), ('[{"name": 7}, null]', 0)]
KEPT += [(json.dumps([{"name": name, "examples": [[x] * 32] * 3} for name, x in [("good", 0.2), ("bad", 7)]]), 1)]


@pytest.mark.parametrize(("kept", "left"), KEPT)
def test_damaged_memory_is_dropped_with_a_sentence(kept, left, page):
    page.evaluate("kept => localStorage.setItem('hypersphere.signs.' + document.body.dataset.detector, kept)", kept)
    page.reload()
    draw(page, STROKES["digits"]["5"][0])
    assert verdict(page) == "5" and "forgotten" in page.inner_text("#taught")
    assert page.locator("#chips button").count() == left


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
    page.click("[aria-label='a star']")
    settle(page)
    page.screenshot(path=PROJECT / "figures" / "demo.png", full_page=True)
    page.set_viewport_size({"width": 1200, "height": 630})  # the preview of links
    page.screenshot(path=PROJECT / "demo" / "static" / "preview.png")
