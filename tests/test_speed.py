"""The measurement of speed, on small slices."""

import json
import shutil

import pytest

from conftest import PROJECT, run
from experiments import choice


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make") or not (PROJECT / ".git").exists(), reason="needs make and a clone")
@pytest.mark.skipif(not (PROJECT / ".venv").exists(), reason="make's environment is not there")
def test_make_is_timed_in_a_fresh_clone(tmp_path):
    run("experiments.speed", "--smoke", "--only", "make", "--out", tmp_path)
    (record,) = map(json.loads, (tmp_path / "results" / "speed.jsonl").read_text().splitlines())
    assert record["name"] == "make" and set(record["metrics"]["scripts"]) == {"cnn", "l2softmax", "tsne", "lof"}
    assert record["metrics"]["seconds"] >= sum(of["seconds"] for of in record["metrics"]["scripts"].values())


@pytest.mark.slow
def test_the_stages_are_timed_beside_alternatives(smoke_run, tmp_path):
    flags = ["--smoke", "--only", "stages", "--repeats", 1, "--models", smoke_run / "models", "--out", tmp_path]
    assert "3 training epochs, Keras, fit on arrays" in run("experiments.speed", *flags)
    (record,) = map(json.loads, (tmp_path / "results" / "speed.jsonl").read_text().splitlines())
    assert all(min(seconds) > 0 for of in record["metrics"]["seconds"].values() for seconds in of.values())


@pytest.mark.slow
def test_an_epoch_of_each_recipe_is_timed(tmp_path):
    run("experiments.speed", "--smoke", "--only", "recipes", "--repeats", 2, "--out", tmp_path)
    (record,) = map(json.loads, (tmp_path / "results" / "speed.jsonl").read_text().splitlines())
    assert set(record["metrics"]["seconds"]) == set(choice.CANDIDATES)
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in record["metrics"]["seconds"].values())
