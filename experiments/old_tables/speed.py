"""Tables of the speed measurements."""

import numpy as np

from experiments.old_tables.article1 import SCRIPTS
from experiments.old_tables.common import below, caption, cell, markdown, note


def tables(records):
    """The tables that the speed records allow, {marker: Markdown}: the last "stages", "cost" of each run of `make`."""
    of_stages, of_make = ([record for record in records if record["name"] == name] for name in ["stages", "make"])
    made = {"stages": stages(of_stages[-1])} if of_stages else {}
    return made | ({"cost": below(*map(cost_of_make, of_make))} if of_make else {})


def stages(record):
    """The seconds of each stage, ours first, and which share of an alternative's time ours takes."""
    rows, n = [], max(len(of) for variants in record["metrics"]["seconds"].values() for of in variants.values())
    for stage, variants in record["metrics"]["seconds"].items():
        ours = np.median(next(iter(variants.values())))
        for number, (name, seconds) in enumerate(variants.items()):
            median, span = np.median(seconds), f"{min(seconds):.1f} to {max(seconds):.1f}"
            ratio = f"{ours / median:.2f}" if number else ""
            rows.append([stage, name, f"{median:.1f}{note(seconds, n)}", span, ratio])
    table = markdown(["stage", "variant", "seconds (median)", "range", "ours / this"], rows)
    return below(table, caption([record], n, "repeat", versions=True))


def cost_of_make(record):
    """Seconds and peak memory of each script in one `make`, and the whole's seconds."""
    metrics = record["metrics"]
    by_script = {SCRIPTS[name]: metrics["scripts"][name] for name in SCRIPTS if name in metrics["scripts"]}
    rows = [[f"`{name}`", f"{of['seconds']:.0f}", str(of["peak_memory_mb"])] for name, of in by_script.items()]
    rows.append(["`make`, everything", f"{metrics['seconds']:.0f}", ""])
    return below(markdown(COST_HEADER, rows), caption([record], 1, "run", versions=True))


COST_HEADER = ["script", "seconds", "peak memory, MB"]


def cost_of_scripts(records):
    """The same of single runs of the scripts, {"cost": Markdown}."""
    names = [name for name in SCRIPTS if any(name in record["seconds"] for record in records)]
    rows, n = [], len(records)
    for name in names:
        of_script = [[r[key][name] for r in records if name in r[key]] for key in ["seconds", "peak_memory_mb"]]
        rows.append([f"`{SCRIPTS[name]}`", *(cell(values, n, 0) for values in of_script)])
    return {"cost": below(markdown(COST_HEADER, rows), caption(records, n, versions=True))} if rows else {}
