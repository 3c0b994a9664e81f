"""What the demo takes pictures for: the committed record, and a sample of it measured again."""

from demo import create_app
from hypersphere import data
from hypersphere.readme import BENCHMARKS_FOLDER
from hypersphere.runs import read_record
from test_demo_images import enlarged, inverted, saved

import numpy as np
import pytest


@pytest.fixture(scope="module")
def metrics():
    return read_record(BENCHMARKS_FOLDER / "demo.json", "run `make bench-demo`")["metrics"]


@pytest.mark.parametrize("polarity", ["light on dark", "dark on light"])
def test_posted_digits_are_named_as_the_network_names_them(polarity, metrics):
    assert metrics["digits"][polarity]["accuracy"] == pytest.approx(metrics["own_accuracy"], abs=0.003)
    assert metrics["digits"][polarity]["turned_away"] <= 0.03


@pytest.mark.parametrize("name", ["Fashion-MNIST", "printed letters"])
def test_posted_outliers_are_turned_away_at_the_scoreboards_rate(name, metrics):
    away = metrics["turned_away"][name]
    assert away["posted"] >= away["as_they_are"] - 0.02


def test_it_is_faster_than_the_alternatives_and_steady(metrics):
    median = {name: of["median"] for name, of in metrics["variants"].items()}
    assert median["network alone, ours"] < 0.5 * median["network alone, model.predict"]
    assert median["detector alone, ours"] < 0.5 * median["detector alone, scikit-learn's LOF on the same layers"]
    assert metrics["inside_ms"]["median"] < 15 and metrics["inside_ms"]["p99"] < 50
    load, memory = metrics["load"], metrics["memory_mb"]
    assert (load["rate"], load["seconds"], load["errors"]) == (50, 60, 0) and load["requests"] == 3000
    assert max(memory.values()) - memory["0"] < 10 and "10000" in memory


def test_a_sample_measured_again(predictor, metrics):
    client = create_app(predictor).test_client()
    _, _, (x, y) = data.load_mnist()
    clothes, _ = data.load_labelled("fashion-mnist", "t10k")

    def answers(images, picture=enlarged):
        return [client.post("/api/predict", data=saved(picture(image))).json for image in images[..., 0]]

    for picture in [enlarged, lambda image: inverted(enlarged(image))]:
        sent = answers(x[:100], picture)
        assert np.mean([answer["digit"] == label for answer, label in zip(sent, y, strict=False)]) >= 0.98
        assert np.mean([answer["is_digit"] for answer in sent]) >= 0.93
    away = np.mean([not answer.get("is_digit") for answer in answers(clothes[:100])])
    assert away >= metrics["turned_away"]["Fashion-MNIST"]["posted"] - 0.05
