"""Article 1 with several seeds: the records behind its tables.

    python -m experiments.seeds                    # ten seeds, three quarters of an hour on two cores
    python -m experiments.seeds --data FOLDER      # the folder that holds cifar-10-batches-bin/
    python -m experiments.seeds --smoke            # a try on small slices, a minute

Each seed runs train_cnn_baseline.py, train_l2softmax.py, visualize_tsne.py and anomaly_lof.py, on one core.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/article1.jsonl    a line a seed, as it ends
Repeating the command continues with the seeds that are missing.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from common import cli, records
from common.cli import PROJECT
from experiments import sweep
from hypersphere.errors import InputError

SCRIPTS = {
    "cnn": "train_cnn_baseline.py",
    "l2softmax": "train_l2softmax.py",
    "tsne": "visualize_tsne.py",
    "lof": "anomaly_lof.py",
}


def plan(args, cifar10_sha256):
    """The trials, {name: settings}: a seed each.

    The slow parts are not measured with each: LOF in the input space, which knows no seed, with the first one alone,
    the maps with the first five.
    """
    common = {"precision": args.precision, "smoke": args.smoke, "cifar10_sha256": cifar10_sha256}
    trials = {}
    for number in range(args.seeds):
        seed = args.first_seed + number
        trials[f"seed{seed}"] = {"seed": seed, "input_space": number == 0, "maps": number < 5} | common
    return trials


def flags_of(script, settings):
    """The flags that a script is given."""
    flags = ["--smoke"] if settings["smoke"] else []
    if script.startswith("train"):
        return [*flags, "--seed", str(settings["seed"]), "--precision", settings["precision"]]
    return [*flags, "--input-space"] if script == "anomaly_lof.py" and settings["input_space"] else flags


def run_trial(name, settings, data, models):
    """Run the four scripts with one seed and put their records together; networks and figures are not kept."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        scripts = {name: script for name, script in SCRIPTS.items() if name != "tsne" or settings["maps"]}
        for script_name, script in scripts.items():
            command = [sys.executable, PROJECT / script, "--out", folder, *flags_of(script, settings)]
            command += ["--data", data] if data else []
            for _ in range(sweep.ATTEMPTS):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode >= 0:  # else it was killed; a training continues
                    break
            if done.returncode:
                problem = "was killed" if done.returncode < 0 else done.stderr.strip().splitlines()[-1]
                raise InputError(f"{name}: {script}: {problem}")
            made[script_name] = records.read_record(Path(folder) / "results" / f"{script_name}.json", "run again")

    def by_script(key):
        return {script: record[key] for script, record in made.items() if key in record}

    return {
        "name": name,
        "settings": settings,
        **{key: by_script(key) for key in ["metrics", "seconds", "peak_memory_mb"]},
        "flags": by_script("settings"),
        "history": by_script("history"),
        **{key: made["cnn"][key] for key in ["versions", "revision", "machine"]},
    }


def main():
    parser = cli.Parser(__doc__, out=PROJECT / "runs")
    parser.add_argument("--seeds", type=cli.positive_int, metavar="N", default=10, help="%(default)s")
    parser.add_argument("--first-seed", type=cli.seed_number, metavar="N", default=1000, help="%(default)s")
    sweep.add_flags(parser)
    args = parser.parse()
    trials = plan(args, sweep.cifar10_setting(args.data))
    for record in sweep.run("experiments.seeds", trials, args, "article1"):
        accuracy = {script: record["metrics"][script]["accuracy"]["test"] for script in ["cnn", "l2softmax"]}
        print(f"{record['name']}: test accuracy " + ", ".join(f"{script} {of:.2%}" for script, of in accuracy.items()))


if __name__ == "__main__":
    main()
