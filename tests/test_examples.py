"""The examples of README.md and docs/extending.md run as they stand there."""

import functools
import re

import numpy as np
import pytest

from conftest import PROJECT
from hypersphere import datasets


def examples(page):
    return re.findall(r"```python\n(.*?)```", (PROJECT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/extending.md"])
def test_examples_run_in_order(page, smoke_run, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    images = {name: rng.random((n, 28, 28, 1)) for name, n in [("x_train", 600), ("x_held_out", 200), ("x_new", 5)]}
    names = images | {"y_train": rng.integers(0, 10, 600)}
    monkeypatch.chdir(smoke_run)  # where some expect what `make` writes
    monkeypatch.setattr(datasets, "load_mnist", functools.partial(datasets.load_mnist, smoke=True))
    assert examples(page)
    for code in examples(page):
        exec(compile(code, page, "exec"), dict(names))
    assert capsys.readouterr().out
