"""The report: statistics at known values, what may be averaged, and the pages against the records."""

import re

import numpy as np
import pytest

from common import records
from conftest import PROJECT, run
from experiments import report, tables
from hypersphere.errors import InputError

RECORDS = report.load(report.RESULTS)


def record(**settings):
    first = RECORDS["unseen"][0]
    return first | {"settings": first["settings"] | settings}


def test_committed_records_are_complete_and_the_pages_say_what_they_say(monkeypatch):
    for study, found in RECORDS.items():
        assert not any(line["settings"].get("smoke") for line in found)
        if study not in ["demo", "speed"]:  # which are measured again and again under one name
            assert len({line["name"] for line in found}) == len(found)
    for fill_in, code in [(report.fill_in, 0), (lambda text, *_: f"{text} stale", 1)]:
        monkeypatch.setattr(report, "fill_in", fill_in)
        with pytest.raises(SystemExit) as ended:
            run("experiments.report", "--check")
        assert ended.value.code == code


def test_fill_in_replaces_what_stands_between_the_markers():
    text = "a\n<!-- t -->\nold\n\nold\n<!-- /t -->\nb"
    assert report.fill_in(text, "page", {"t": r"new \1"}) == "a\n<!-- t -->\n\nnew \\1\n\n<!-- /t -->\nb"
    assert report.fill_in("nothing", "page", {"t": "x"}) == "nothing"
    with pytest.raises(InputError, match="nothing for its table t"):
        report.fill_in(text, "page", {})


def test_statistics_at_known_values():
    assert tables.spread([0.5], 2, 100) == "50.00" and tables.spread([1, 2, 3], 1) == "2.0 ± 1.0"
    assert tables.cell([1, 2, 3], 5, 1) == "2.0 ± 1.0 (n = 3)"
    difference = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    half = tables.half_width(difference)  # Student's t for 5 degrees of freedom
    assert half == pytest.approx(2.570582 * difference.std(ddof=1) / np.sqrt(6), rel=1e-5)
    found = [("A", "a", difference), ("B", "b", np.zeros(4))]
    table = re.sub(" +", " ", tables.contrasts_table(found, "set", "AUROC", "seed", [record()]))
    # The exact Wilcoxon p of six equal signs is 2 / 2**6; Holm's correction doubles it.
    assert f"| A | a | +0.035 | {0.035 - half:+.3f} to {0.035 + half:+.3f} | 6 of 6 | 0.062 |" in table
    assert "| B | b | +0.000 | +0.000 to +0.000 | 0 of 4 | 1.000 |" in table


def test_only_like_records_are_averaged():
    tables.require_alike([record(seed=0), record(seed=1)])
    with pytest.raises(InputError, match=r"alpha is 16 in one and 8 in the other; they do not belong into one table"):
        tables.require_alike([record(seed=0, alpha=16), record(seed=1, alpha=8)])
    with pytest.raises(InputError, match="2 with seed 3"):
        tables.require_alike([record(seed=3), record(seed=3)])
    caption = tables.caption([record(), record(precision="bfloat16")], 2)
    assert "n = 2 seeds" in caption and "bfloat16" in caption


def test_partial_results_are_printed_as_far_as_they_go(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    with pytest.raises(InputError, match="no records"):
        run("experiments.report", "--results", folder)
    for line in [line for line in RECORDS["article1"] if line["name"].startswith("choice/")]:
        records.append_record(folder / "article1.jsonl", line)
    assert "article1_choice.csv" in run("experiments.report", "--results", folder), "a choice alone has no table"
    for line in [line for line in RECORDS["article2"] if "sneaker-ankle_boot/from_scratch/" in line["name"]][:12]:
        records.append_record(folder / "article2.jsonl", line)
    printed = run("experiments.report", "--results", folder)
    assert "## heads scratch" in printed and "## accuracy" not in printed
    with pytest.raises(InputError, match="no such folder"):
        run("experiments.report", "--results", tmp_path / "nowhere")
    (folder / "article2.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"article2\.jsonl, line 1: damaged"):
        run("experiments.report", "--results", folder)


def test_pages_are_short_and_every_link_leads_somewhere():
    for page in [*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md"), *PROJECT.glob("*/README.md")]:
        text = page.read_text(encoding="utf-8")
        assert len(report.MARKERS.sub("", text).splitlines()) <= 150, f"{page}, beside its tables"
        headings = [re.sub(r"[^\w\- ]", "", line.lower()) for line in re.findall(r"^#+ (.*)", text, re.MULTILINE)]
        for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", text):
            if target.startswith("#"):
                assert target[1:] in [heading.replace(" ", "-") for heading in headings], f"{page}: {target}"
            elif not target.startswith("http"):
                assert (page.parent / target.split("#")[0]).exists(), f"{page}: {target}"


def test_the_workflow_runs_the_readmes_commands():
    workflow = (PROJECT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    pages = "".join((PROJECT / page).read_text(encoding="utf-8") for page in ["README.md", "CONTRIBUTING.md"])
    commands = re.findall(r"run: (make \S+)", workflow)
    assert commands and all(f"\n{command} " in pages for command in commands)


def test_decimal_numbers_in_prose_come_from_records_or_are_marked():
    """Each is (rounded) in a table, in a CSV that the page links, or in the page's comment, which says where from."""
    pages = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    tables = "".join(block[0] for text in texts.values() for block in report.MARKERS.finditer(text))
    for path, text in texts.items():
        linked = [(PROJECT / "results" / name).read_text() for name in re.findall(r"results/(\w+\.csv)", text)]
        marked = re.findall(r"<!-- not in a table: (.*?) -->", text, re.DOTALL)
        known = np.array(re.findall(r"\d+\.?\d*", " ".join([tables, *linked, *marked])), dtype=float)
        prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|<!--.*?-->", "", report.MARKERS.sub("", text), flags=re.DOTALL)
        for number in re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)", prose):
            rounding = 0.501 * 10.0 ** -len(number.partition(".")[2])
            is_same = [np.abs(known * factor - float(number)) <= rounding for factor in [1, 100, 0.01]]
            assert np.any(is_same), f"{path.name}: {number}: correct it, or list it in <!-- not in a table: -->"
