"""The studies that train nothing: of the demo, posted pictures and taught signs, and of speed."""

import pytest

from common import records
from conftest import run
from experiments import demo, speed


@pytest.mark.slow
def test_pictures_are_taken_for_what_they_are_and_signs_recognised(tmp_path):
    run("experiments.demo", "--smoke", "--out", tmp_path)
    pictures, signs = records.read_records(tmp_path / "results" / "demo.jsonl")
    metrics = pictures["metrics"]
    assert metrics["own_accuracy"] >= 0.97
    for shares in metrics["digits"].values():
        assert shares["accuracy"] >= 0.97 and shares["rejected"] <= 0.08
    assert metrics["rejected"]["Fashion-MNIST"]["posted"] >= 0.94
    assert 0 < metrics["inside_ms"]["median"] <= metrics["inside_ms"]["p99"]
    for group in demo.GROUPS:
        shares = signs["metrics"][group]
        assert shares["recognised"] >= 0.9
        assert shares["digits taken for a sign"] <= 0.01 and shares["scribbles taken for a sign"] <= 0.15
    made = demo.tables([pictures, signs, pictures | {"metrics": metrics | {"own_accuracy": 0.123}}])
    assert "12.3%" in made["demo_pictures"], "the last record's"
    assert "smoke" in made["demo_signs"]


def test_the_table_compares_medians_with_ours():
    seconds = {"a stage": {"ours": [1.0, 9.0, 2.0], "another": [4.0, 4.0, 5.0]}}
    record = {"settings": {"repeats": 3}, "metrics": {"seconds": seconds}, "versions": {}}
    table = speed.tables([record | {"machine": {"cpu": "a processor", "cores": 2}}])["stages"]
    assert "| a stage | another | 4.0              | 4.0 to 5.0 | 0.50" in table and "n = 3 repeats" in table


@pytest.mark.slow
def test_the_stages_are_timed_beside_alternatives(smoke_run, tmp_path):
    flags = ["--smoke", "--models", smoke_run / "models", "--out", tmp_path]
    assert "Keras, fit on arrays" in run("experiments.speed", *flags)
    (record,) = records.read_records(tmp_path / "results" / "speed.jsonl")
    assert all(min(values) > 0 for stage in record["metrics"]["seconds"].values() for values in stage.values())
