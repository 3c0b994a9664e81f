"""The README's tables of the demo, rendered from the record of benchmarks/demo.py."""

from hypersphere.tables import machine_line, markdown

ALTERNATIVES = {
    "network alone, model.predict": "network alone, ours",
    "detector alone, scikit-learn's LOF on the same layers": "detector alone, ours",
}


def pictures(record):
    """What posted pictures are taken for."""
    metrics = record["metrics"]
    rows = [
        [f"MNIST test images, {polarity}", f"{of['accuracy']:.1%}", f"{of['turned_away']:.1%}"]
        for polarity, of in metrics["digits"].items()
    ]
    rows += [[name, "", f"{of['posted']:.1%}"] for name, of in metrics["turned_away"].items()]
    as_they_are = ", ".join(f"{name} {of['as_they_are']:.1%}" for name, of in metrics["turned_away"].items())
    note = (
        f"The network itself names {metrics['own_accuracy']:.1%} of these digits. Turned away if the detector gets the "
        f"28x28 images as they are, not cropped and fitted again: {as_they_are}."
    )
    return f"{markdown(['posted as PNG of 280x280', 'right digit', 'turned away'], rows)}\n\n{note}"


def latency(record):
    """Milliseconds of one prediction, ours beside the alternatives; a minute of load; memory."""
    metrics = record["metrics"]
    rows = []
    for name, of in metrics["variants"].items():
        ours = metrics["variants"][ALTERNATIVES[name]]["median"] if name in ALTERNATIVES else None
        ratio = f"{of['median'] / ours:.1f}" if ours else ""
        rows.append([name, f"{of['median']:.1f}", f"{of['p99']:.1f}", ratio])
    inside, load, memory = metrics["inside_ms"], metrics["load"], list(metrics["memory_mb"].values())
    table = markdown(["one image, the rows taking turns", "median, ms", "99th percentile, ms", "ratio to ours"], rows)
    return (
        f"{table}\n\n"
        f"- Inside the server, which does nothing else, with reading and preparing the picture: "
        f"median {inside['median']:.1f} ms, 99th percentile {inside['p99']:.1f} ms.\n"
        f"- {load['rate']} requests a second for {load['seconds']} seconds: {load['errors']} errors in "
        f"{load['requests']}, answered in {load['answered_ms']['median']:.0f} ms "
        f"(99th percentile {load['answered_ms']['p99']:.0f} ms).\n"
        f"- Resident memory over 10,000 requests with pictures of 280x280: "
        f"from {memory[0]:.0f} to {memory[-1]:.0f} MB.\n"
        f"- scikit-learn's LOF needs {metrics['scikit_learn_fit_seconds']:.0f} s to be fitted to the three layers.\n\n"
        f"{machine_line(record)}"
    )
