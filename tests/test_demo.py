"""The study of the demo: posted pictures and taught signs."""

import pytest

from common import records
from conftest import run
from experiments import demo


@pytest.fixture(scope="module")
def smoke_records(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    run("experiments.demo", "--smoke", "--out", out)
    return records.read_records(out / "results" / "demo.jsonl")


@pytest.mark.slow
def test_posted_pictures_are_taken_for_what_they_are(smoke_records):
    metrics = smoke_records[0]["metrics"]
    assert metrics["own_accuracy"] >= 0.97
    for shares in metrics["digits"].values():
        assert shares["accuracy"] >= 0.97 and shares["rejected"] <= 0.08
    assert metrics["rejected"]["Fashion-MNIST"]["posted"] >= 0.94
    assert 0 < metrics["inside_ms"]["median"] <= metrics["inside_ms"]["p99"]


@pytest.mark.slow
def test_taught_signs_are_recognised_and_hardly_anything_else_is(smoke_records):
    for group in demo.GROUPS:
        metrics = smoke_records[1]["metrics"][group]
        assert metrics["recognised"] >= 0.9
        assert metrics["digits taken for a sign"] <= 0.01 and metrics["scribbles taken for a sign"] <= 0.15


@pytest.mark.slow
def test_tables_are_of_the_last_records(smoke_records):
    made = demo.tables(smoke_records)
    assert list(made) == ["demo_pictures", "demo_signs"] and "smoke" in made["demo_signs"]
    smoke_records[0]["metrics"]["own_accuracy"] = 0.123
    assert "12.3%" in demo.tables(smoke_records)["demo_pictures"]
    assert list(demo.tables(smoke_records[1:])) == ["demo_signs"]
