"""The demo's HTTP interface."""

import base64
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
from PIL import Image, ImageDraw, ImageOps
from sklearn.datasets import load_sample_image

from common import records
from conftest import run
from demo import build
from demo import predictor as predictors
from demo.app import MAX_BODY, create_app
from demo.predictor import ARTICLE, FOLDER, Predictor, detector_key
from experiments import building
from hypersphere import datasets, detectors, networks, rotation, scores
from hypersphere.errors import InputError
from hypersphere.files import load_arrays
from picture_files import enlarged, saved

WIDTH = rotation.OPTIONS["n_components"]  # of an example of a sign


class SmallPredictor(Predictor):
    def kept_detector(self):
        return predictors.fitted(self.model, smoke=True)


@pytest.fixture(scope="module")
def small_predictor():
    return SmallPredictor()


@pytest.fixture(scope="module")
def client(small_predictor):
    return create_app(small_predictor).test_client()


@pytest.fixture
def digit(digits):
    return digits[0]  # a seven


def in_base64(digit, separator=""):
    """A PNG file in lines of 76 letters."""
    text = base64.b64encode(saved(enlarged(digit))).decode()
    return separator.join(text[place : place + 76] for place in range(0, len(text), 76))


FORM = "application/x-www-form-urlencoded"  # as curl sends it
WAYS = {
    "body": lambda digit: {"data": saved(enlarged(digit)), "content_type": "image/png"},
    "dark on light": lambda digit: {"data": saved(ImageOps.invert(enlarged(digit))), "content_type": FORM},
    "JSON array": lambda digit: {"json": {"pixels": np.uint8(255 * digit).tolist()}},
    "base64": lambda digit: {"json": {"picture": in_base64(digit)}},
    "base64 in lines": lambda digit: {"json": {"picture": in_base64(digit, "\r\n")}},
    "data URL": lambda digit: {"json": {"picture": f"data:image/png;base64,{in_base64(digit)}"}},
    "data URL in lines": lambda digit: {"json": {"picture": f"data:image/png;base64,{in_base64(digit, chr(10))}\n"}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_digit_is_named(way, client, digit):
    response = client.post("/api/predict", **WAYS[way](digit))
    assert response.status_code == 200, response.json
    answer = response.json
    assert answer["digit"] == 7 and answer["is_digit"] is True and answer["empty"] is False
    assert answer["p_value"] > answer["level"] == 0.01 and np.argmax(answer["probabilities"]) == 7
    assert len(answer["probabilities"]) == 10 and sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
    names = {"empty", "digit", "probabilities", "p_value", "level", "is_digit", "calibration_images", "lof"}
    assert set(answer) == names and answer["lof"].pop("is_digit") is True
    assert 0.9 < answer["lof"]["score"] < answer["lof"]["threshold"]


def test_the_answer_says_why(client, digit):
    answer = client.post("/api/predict?explain", data=saved(enlarged(digit))).json
    assert np.shape(answer["pixels"]) == (28, 28) and np.max(answer["pixels"]) == 255
    assert [near["label"] for near in answer["nearest"]] == [7] * 5
    assert all(np.shape(near["pixels"]) == (28, 28) for near in answer["nearest"])
    points = client.get("/api/map").json
    places = np.array(points["place"])[np.array(points["label"]) == 7]
    assert np.linalg.norm(np.median(places, axis=0) - answer["place"]) < 0.2


def test_nothing_drawn_is_told_and_a_dot_and_a_photograph_are_rejected(client):
    assert client.post("/api/predict", data=saved(Image.new("RGB", (40, 90), "white"))).json == {"empty": True}
    dot = Image.new("L", (280, 280))
    ImageDraw.Draw(dot).circle((140, 140), 11, fill=255)
    for picture in [dot, Image.fromarray(load_sample_image("china.jpg"))]:
        answer = client.post("/api/predict", data=saved(picture)).json
        assert answer["is_digit"] is False and answer["p_value"] <= 0.01


ANSWERED = [{"Host": host} for host in ["127.0.0.1:8000", "[::1]:8000", "named.example", "192.168.1.7"]]
ANSWERED += [{"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}]
ANSWERED += [{"Origin": "https://localhost"}]  # behind a proxy
REFUSED = [{"Host": host} for host in ["evil.example", "localhost.evil.example:8000", "1.evil.example"]]
REFUSED += [{"Origin": origin} for origin in ["http://evil.example", "null", "http://["]]
REFUSED += [{"Sec-Fetch-Site": site} for site in ["cross-site", "same-site"]]


@pytest.mark.parametrize("headers", ANSWERED + REFUSED)
def test_pages_elsewhere_and_names_that_lead_here_are_refused(headers, small_predictor):
    client = create_app(small_predictor, hosts=["named.example"]).test_client()
    response = client.get("/api/map", headers={"Host": "localhost"} | headers)
    code = 403 if headers in REFUSED else 200
    assert response.status_code == code and ("error" in response.json) == (code == 403)


def sign(**changes):
    return {"name": "heart", "examples": [[0.5] * WIDTH] * 3} | changes


JSON = "application/json"
BAD = {
    "no picture": ({"data": b"seven"}, 415, "not a picture"),
    "nothing": ({}, 415, "not a picture"),
    "truncated": ({"data": saved(Image.effect_noise((99, 99), 90))[:2000]}, 400, "damaged"),
    "too long": ({"data": b"x" * (MAX_BODY + 1)}, 413, "more than 1 MB"),
    "no JSON": ({"data": "{", "content_type": JSON}, 400, "JSON is damaged"),
    "other JSON": ({"json": [1, 2]}, 400, "pixels"),
    "deep JSON": ({"data": "[" * 100_000, "content_type": JSON}, 400, "too many lists"),
    "form": ({"data": {"image": "data:"}, "content_type": "multipart/form-data"}, 415, "not a picture"),
    "another key": ({"json": {"image": 7}}, 400, "pixels"),
    "no base64": ({"json": {"picture": "seven!"}}, 400, "base64"),
    "GET": ({"method": "GET"}, 405, "method"),
    "nowhere": ({"path": "/nothing"}, 404, "not found"),
}
BAD_SIGNS = {
    "no list": ("heart", "not a list"),
    "too many": ([sign(name=str(number)) for number in range(11)], "at most 10"),
    "no object": ([7], "each sign"),
    "another key": ([sign(color="red")], "each sign"),
    "number as name": ([sign(name=7)], "name"),
    "empty name": ([sign(name=" ")], "name"),
    "long name": ([sign(name="x" * 25)], "24 letters"),
    "name that grows": ([sign(name="\ufdfa" * 2)], "24 letters"),  # 18 letters each
    "name that would be sorted": ([sign(name="a" + "\u0301\u0323" * 40_000)], "24 letters"),
    "twice": ([sign(), sign(name=" \uff48eart")], "same name"),
    "no examples": ([sign(examples=[])], "1 to 5 examples"),
    "six examples": ([sign(examples=[[0.5] * WIDTH] * 6)], "1 to 5 examples"),
    "short example": ([sign(examples=[[0.5] * (WIDTH - 1)])], "from -1 to 1"),
    "NaN": ([sign(examples=[[float("nan")] * WIDTH])], "from -1 to 1"),
    "large": ([sign(examples=[[10**400] * WIDTH])], "from -1 to 1"),
    "zeros": ([sign(examples=[[0.5] * WIDTH, [0] * WIDTH])], "no direction"),
}
for name in [" \u2003", "\u200b", "a\u202eb", "\u200e7", "\u3164", "\u2800", "\u034f", "a\nb", "\ud800"]:
    BAD_SIGNS[f"name {name!a}"] = [sign(name=name)], "show nothing" if name.strip() else "1 to 24 letters"
for name in ["7", "\uff17", "(7)", "7\ufe0f\u20e3", "\u0667", "Not a digit", "not  a-digit!"]:
    BAD_SIGNS[f"name {name!a}"] = [sign(name=name)], "not a digit's"
for case, (signs, words) in BAD_SIGNS.items():
    body = json.dumps({"pixels": [[0] * 28] * 28, "signs": signs})
    BAD[f"signs: {case}"] = ({"data": body, "content_type": JSON}, 400, words)


@pytest.mark.parametrize(("sent", "code", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_answered_with_a_sentence(sent, code, words, client):
    response = client.open(**{"path": "/api/predict", "method": "POST"} | sent)
    assert response.status_code == code, response.data
    assert words in response.json["error"] and "\n" not in response.json["error"]
    assert code != 405 or "POST" in response.headers["Allow"]


def test_a_link_opens_the_page_and_programs_learn_which_model_it_is(client, small_predictor):
    page = client.get("/", headers={"Sec-Fetch-Site": "cross-site"})
    assert page.status_code == 200 and f'data-detector="{small_predictor.key}"' in page.text
    assert client.get("/healthz").json == {"status": "ok"}
    about = client.get("/api/model").json
    assert about["test_accuracy"] >= 0.99 and len(about["sha256"]) == 64
    assert 0 < about["detector"]["test_rejection_rate"] < 0.02 and about["detector"]["level"] == 0.01


def test_a_taught_sign_is_named_and_nothing_is_kept(client, digit):
    frame = np.zeros((28, 28))
    frame[[5, 14, 22], 5:23] = frame[5:23, 5] = 1  # an E
    moved = [np.roll(frame, step, axis=1) for step in [-1, 0, 1]]
    examples = [client.post("/api/predict?features", json={"pixels": x.tolist()}).json["features"] for x in moved]
    signs = [sign(name="E", examples=examples)]
    ask = [client.post("/api/predict", json={"pixels": x.tolist(), "signs": signs}).json for x in [frame, digit]]
    assert [answer["sign"] for answer in ask] == ["E", None] and ask[1]["digit"] == 7
    later = client.post("/api/predict", json={"pixels": frame.tolist(), "signs": []}).json
    assert later["sign"] is None and "features" not in later


@pytest.mark.parametrize(("state", "code"), [("fitting", 503), ("failed", 500)])
def test_without_a_detector_the_page_is_served_all_the_same(state, code, client, small_predictor, monkeypatch):
    monkeypatch.setattr(small_predictor, "state", state)
    assert {client.get(path).status_code for path in ["/", "/api/map", "/healthz"]} == {200}
    for response in [client.get("/api/model"), client.post("/api/predict", json={})]:
        assert response.status_code == code and "fitted" in response.json["error"]
        assert state == "failed" or (response.json["fitting"] is True and response.headers["Retry-After"] == "2")


def test_a_fit_that_fails_is_told(monkeypatch, capsys):
    monkeypatch.setattr(predictors, "VERSION", 0)  # of which no detector is kept
    monkeypatch.setattr(predictors, "FIT", "raise SystemExit(3)")
    with pytest.raises(SystemExit):
        Predictor()
    assert "ended with code 3" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_keeps_no_detector_and_is_no_error(small_predictor, tmp_path, monkeypatch):
    """Folders stand where files would be written and deleted, which is an error for root, too."""
    kept = tmp_path / "kept.skops"
    detectors.save_detector(small_predictor.detector, kept)
    monkeypatch.setattr(predictors, "FIT", f"import shutil, sys; shutil.copy({str(kept)!r}, sys.argv[1])")
    for name in ["detector-old.skops", "detector-new.skops"]:
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).mkdir()
        assert Predictor.kept_detector(SimpleNamespace(folder=tmp_path, key="new")).level == 0.01
        assert (tmp_path / "detector-new.skops").exists()


DAMAGED = [
    ("network.json", b"{}"),
    ("network.json", b'{"settings": {}, "metrics": {"accuracy": 1}}'),
    ("map.npz", {"place": 0}),
    ("map.npz", {"label": 0}),
    ("map.npz", {"place": np.full((5000, 2), np.nan, np.float32)}),
    ("network.keras", (FOLDER / "rotation1.keras").read_bytes()),
]


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_a_file_that_lacks_something_is_named_at_the_start(name, content, tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "demo", ignore=shutil.ignore_patterns("*.skops"))
    if isinstance(content, dict):
        np.savez(folder / name, **(load_arrays(FOLDER / name, "") | content))
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"({name}: damaged|networks of a detector of digits); take the committed one"):
        Predictor(folder)


def test_the_key_is_another_when_what_decides_the_detector_changes():
    keys = {detector_key("networks"), detector_key("networks"), detector_key("other networks")}
    changes = [(rotation, "LAYERS", {}), (rotation, "OPTIONS", {}), (datasets, "N_TRAIN", 40_000)]
    for change in [*changes, (sklearn, "__version__", "0.1"), (predictors, "VERSION", 0)]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*change)
            keys.add(detector_key("networks"))
    assert len(keys) == 7


def test_the_version_in_the_key_is_that_of_the_code(small_predictor, digits):
    """If this fails, other code fits another detector: raise `VERSION`, and give its p-values here.

    It covers whatever fits: demo.predictor, datasets, features, layers, rotation, detectors and scores.
    """
    # Of the first eight test images: of a detector fitted to little data, by the `VERSION` of the code that fits.
    p_values = {1: [0.725686, 0.758105, 0.810474, 0.790524, 0.598504, 0.870324, 0.25187, 0.13217]}
    found = [small_predictor.predict(image)["p_value"] for image in digits[:8]]
    assert found == pytest.approx(p_values[predictors.VERSION], abs=0.01)


def test_build_makes_the_demos_files_from_a_run_of_the_scoreboard(tmp_path, monkeypatch):
    """Tiny networks, saved as the scoreboard saves its own."""
    run_folder, built = tmp_path / "run", tmp_path / "demo"
    with pytest.raises(InputError, match="no record"):
        run("demo.build", "--run", run_folder, "--models", built)
    (run_folder / "results").mkdir(parents=True)
    record = records.read_record(FOLDER / "network.json", "")
    records.append_record(run_folder / "results" / "scoreboard.jsonl", record)
    trial = run_folder / "models" / "scoreboard" / record["name"]
    trial.parent.mkdir(parents=True)
    with pytest.raises(InputError, match="classifier"):
        run("demo.build", "--run", run_folder, "--models", built)
    for number, (name, classes) in enumerate({"classifier": 10, "rotation1": 41, "rotation2": 41}.items()):
        *_, network = building.build(building.RECIPE | {"width": 4}, (28, 28, 1), classes, seed=number)
        networks.save_network(network, trial.with_name(f"{trial.name}-{name}.keras"))
    monkeypatch.setattr(build, "N_MAPPED", 200)
    with pytest.raises(InputError, match="missing; run python train_l2softmax"):
        run("demo.build", "--run", run_folder, "--models", built, "--article", tmp_path / "absent.keras")
    run("demo.build", "--run", run_folder, "--models", built, "--article", FOLDER / ARTICLE)
    predictor = SmallPredictor(built)
    assert records.read_record(built / "network.json", "") == record and predictor.map["place"].shape == (200, 2)
    assert np.abs(predictor.map["place"]).max() == 1
    assert "digit" in predictor.predict(np.eye(28, dtype=np.float32), ["explain"])


def test_the_articles_lof_accepts_digits_and_rejects_most_clothes(small_predictor):
    for name, least, most in [("mnist", 0.97, 1), ("fashion-mnist", 0, 0.5)]:
        x, _ = datasets.load_labelled(name, "test")
        found = scores.novelty_score(small_predictor.lof, small_predictor.article.predict(x[:1000], verbose=0))
        assert least <= np.mean(found <= small_predictor.lof_threshold) <= most


@pytest.mark.parametrize("path", ["/", "/static/demo.js", "/static/demo.css", "/static/icon.svg", "/api/map", "/no"])
def test_every_answer_is_protected(path, client):
    response = client.get(path)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "<b>" not in client.get(path, headers={"Host": '[fe80::1%"><b>]'}).text, "the page's own address"


class Slow:
    """Stands for a predictor that takes its time, and counts how many use it at once."""

    state, running, most = "ready", 0, 0

    def predict(self, image, *wanted):
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.3)
        self.running -= 1
        return {"digit": 7}


@pytest.mark.parametrize(("seconds", "answered"), [(10, 4), (0.05, 1)])
def test_one_request_at_a_time_and_who_waits_too_long_is_told_so(digit, seconds, answered):
    slow = Slow()
    app, content = create_app(slow, seconds), saved(enlarged(digit))

    def post(_=None):
        return app.test_client().post("/api/predict", data=content)

    with ThreadPoolExecutor(4) as pool:
        refused = [response for response in pool.map(post, range(4)) if response.status_code == 503]
    assert slow.most == 1 and len(refused) == 4 - answered
    assert all(response.headers["Retry-After"] and "try again" in response.json["error"] for response in refused)
    assert post().status_code == 200  # the place is given back
