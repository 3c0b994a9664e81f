"""The README's tables of the benchmarks of speed, rendered from their records."""

from hypersphere.tables import SCRIPTS, machine_line, markdown

import numpy as np


def stages(record):
    """The seconds of each stage, ours and the alternatives', and which share of an alternative's ours takes."""
    rows = []
    for stage, variants in record["metrics"]["seconds"].items():
        ours = np.median(next(iter(variants.values())))
        for number, (name, seconds) in enumerate(variants.items()):
            median, span = np.median(seconds), f"{min(seconds):.1f} to {max(seconds):.1f}"
            rows.append([stage, name, f"{median:.1f}", span, f"{ours / median:.2f}" if number else ""])
    table = markdown(["stage", "variant", "seconds (median)", "range", "ours takes"], rows)
    differences = [f"{value:.0e} ({stage})" for stage, value in record["metrics"]["difference"].items()]
    return f"{table}\n\nOur LOF scores differ from scikit-learn's by at most {' and '.join(differences)}."


def floors(record):
    """The machine's rates, and what they leave of each stage's seconds."""
    metrics = record["metrics"]
    rates = [
        [name, *(f"{of[dtype] / 1e9:,.0f}" for dtype in ["float32", "bfloat16"])]
        for name, of in metrics["rates"].items()
    ]
    rows = []
    for stage, operations in metrics["operations"].items():
        name, seconds = next(iter(metrics["seconds"][stage].items()))
        dtype = "bfloat16" if "bfloat16" in name else "float32"
        floor = operations / metrics["rates"]["matrix product"][dtype]
        rows.append([stage, dtype, f"{operations / 1e12:.2f}", f"{floor:.2f}", f"{floor / np.median(seconds):.0%}"])
    header = ["stage", "in", "operations, 10^12", "floor, seconds", "share of the floor's rate reached"]
    rate_table = markdown(["10^9 operations a second", "float32", "bfloat16"], rates)
    return f"{rate_table}\n\n{markdown(header, rows)}\n\n{machine_line(record)}"


def growth(record):
    """LOF's seconds, memory and AUROC as the number of fitted points grows, exact and approximate."""
    rows = []
    for name, by_points in record["metrics"]["engines"].items():
        before = None
        for of in by_points:
            exponent = ""
            if before:
                growth_of = of["fit_seconds"] / before["fit_seconds"], of["points"] / before["points"]
                exponent = f"{np.log(growth_of[0]) / np.log(growth_of[1]):.2f}"
            cells = [f"{of['fit_seconds']:.1f}", f"{of['score_seconds']:.1f}", f"{of['peak_memory_mb']:,}"]
            rows.append([name, f"{of['points']:,}", *cells, f"{of['auroc']:.2%}", exponent])
            before = of
    header = ["neighbours", "points", "fit, s", "10,000 scores, s", "peak memory, MB", "AUROC", "exponent of the fit"]
    return f"{markdown(header, rows)}\n\n{machine_line(record)}"


def cost(record):
    """Seconds and peak memory of each script in one `make`, and the whole's seconds."""
    metrics = record["metrics"]
    rows = [
        [f"`{SCRIPTS[name]}`", f"{of['seconds']:.0f}", str(of["peak_memory_mb"])]
        for name, of in metrics["scripts"].items()
    ]
    rows.append(["`make`, everything", f"{metrics['seconds']:.0f}", ""])
    return f"{markdown(['script', 'seconds', 'peak memory, MB'], rows)}\n\n{machine_line(record)}"
