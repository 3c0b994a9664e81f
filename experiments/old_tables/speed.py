"""Tables of the speed measurements and of the demo's load test."""

import numpy as np

from experiments.old_tables.article1 import SCRIPTS
from experiments.old_tables.common import below, caption, cell, markdown

# Variants of a single prediction, and which of ours each is an alternative to.
ALTERNATIVES = {"the networks alone, model.predict": "the networks alone, ours"}


COST_HEADER = ["script", "seconds", "peak memory, MB"]


def cost_of_scripts(records):
    """The same of single runs of the scripts, {"cost": Markdown}."""
    names = [name for name in SCRIPTS if any(name in record["seconds"] for record in records)]
    rows, n = [], len(records)
    for name in names:
        of_script = [[r[key][name] for r in records if name in r[key]] for key in ["seconds", "peak_memory_mb"]]
        rows.append([f"`{SCRIPTS[name]}`", *(cell(values, n, 0) for values in of_script)])
    return {"cost": below(markdown(COST_HEADER, rows), caption(records, n, versions=True))} if rows else {}


def demo_tables(records):
    """The tables of the demo's last record, {marker: Markdown}."""
    if not records:
        return {}
    return {"demo_pictures": pictures(records[-1]), "demo_latency": latency(records[-1])}


def sign_tables(records):
    """The table of the last record of taught signs, {marker: Markdown}."""
    if not records:
        return {}
    by_group = {name: of for name, of in records[-1]["metrics"].items() if isinstance(of, dict)}
    header = {"seen while choosing": "ten signs seen while choosing", "test": "ten others"}
    measures = next(iter(by_group.values()))
    rows = [[measure, *(f"{of[measure]:.1%}" for of in by_group.values())] for measure in measures]
    table = markdown(["share", *(header[name] for name in by_group)], rows)
    return {"demo_signs": below(table, caption([records[-1]], 1, "network"))}


def pictures(record):
    """What posted pictures are taken for."""
    metrics = record["metrics"]
    rows = [
        [f"MNIST test images, {polarity}", f"{of['accuracy']:.1%}", f"{of['rejected']:.1%}"]
        for polarity, of in metrics["digits"].items()
    ]
    rows += [[name, "", f"{of['posted']:.1%}"] for name, of in metrics["rejected"].items()]
    as_they_are = ", ".join(f"{name} {of['as_they_are']:.1%}" for name, of in metrics["rejected"].items())
    sentence = (
        f"The classifier alone names {metrics['own_accuracy']:.1%} of these digits. Rejected if the detector gets the "
        f"28x28 images as they are, not cropped and fitted again: {as_they_are}."
    )
    table = markdown(["posted as PNG of 280x280", "right digit", "rejected"], rows)
    return below(table, sentence, caption([record], 1, "network"))


def latency(record):
    """Milliseconds of one prediction, ours beside the alternatives; a minute of load; memory."""
    metrics, rows = record["metrics"], []
    for name, of in metrics["variants"].items():
        ours = metrics["variants"].get(ALTERNATIVES.get(name), {}).get("median")
        rows.append([name, f"{of['median']:.1f}", f"{of['p99']:.1f}", f"{of['median'] / ours:.1f}" if ours else ""])
    table = markdown(["one image, the rows taking turns", "median, ms", "99th percentile, ms", "this / ours"], rows)
    inside, load, memory = metrics["inside_ms"], metrics["load"], metrics["memory_mb"]
    requests, megabytes = list(memory), list(memory.values())
    lines = [
        f"- Inside the server, which does nothing else, with reading and preparing the picture: "
        f"median {inside['median']:.1f} ms, 99th percentile {inside['p99']:.1f} ms.",
        f"- {load['rate']} requests a second for {load['seconds']} seconds: {load['errors']} errors in "
        f"{load['requests']}, answered in {load['answered_ms']['median']:.0f} ms "
        f"(99th percentile {load['answered_ms']['p99']:.0f} ms).",
        f"- Resident memory over {int(requests[-1]):,} requests with pictures of 280x280: "
        f"from {megabytes[0]:.0f} to {megabytes[-1]:.0f} MB.",
    ]
    return below(table, "\n".join(lines), caption([record], 1, "run", versions=True))
