"""Article 1 with one seed as a trial: its four scripts, one after the other, each in a process of its own."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypersphere import runs, sweeps
from hypersphere.errors import InputError
from hypersphere.tables import SCRIPTS

RECORDS = [f"{name}.json" for name in SCRIPTS]


@dataclass(frozen=True)
class Trial(sweeps.Trial):
    """One seed."""

    seed: int
    precision: str
    smoke: bool

    @property
    def name(self):
        """The name of the record that decides whether it is done, that of the sphere's network."""
        return f"seeds/seed{self.seed}/l2softmax"

    def flags_of(self, script):
        """The flags that a script is given."""
        flags = ["--smoke"] if self.smoke else []
        if script.startswith("train"):
            return [*flags, "--seed", str(self.seed), "--precision", self.precision]
        # The input space knows no seed: LOF there is measured with the first one alone.
        return [*flags, "--skip-input"] if script == "anomaly_lof.py" and self.seed > 0 else flags


def run(trial, folder, out):
    """Run a seed and write its records, `results/seeds/seedN/*.json` under `out`; returns the trial and its metrics.

    folder : where data sets are looked for. Networks and figures are not kept. A script that is
    killed runs again; InputError if that goes on, or if it fails.
    """
    with tempfile.TemporaryDirectory() as run_folder:
        for script in SCRIPTS.values():
            command = [sys.executable, runs.PROJECT / script, "--out", run_folder, *trial.flags_of(script)]
            if folder:
                command += ["--data", folder]
            for _ in range(sweeps.ATTEMPTS):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode >= 0:  # else it was killed; a training continues
                    break
            if done.returncode:
                problem = "was killed" if done.returncode < 0 else done.stderr.strip().splitlines()[-1]
                raise InputError(f"{trial.name}: {script}: {problem}")
        records = {name: runs.read_record(Path(run_folder) / "results" / name, "run again") for name in RECORDS}
        target = trial.record_path(out).parent
        runs.make_writable(target)
        for name in sorted(RECORDS, key=lambda name: target / name == trial.record_path(out)):
            with runs.replacing(target / name) as beside:
                shutil.copy(Path(run_folder) / "results" / name, beside)
    return trial, {name.removesuffix(".json"): record["metrics"] for name, record in records.items()}


def in_words(metrics):
    """A trial's metrics in the words of the progress line."""
    accuracies = {name: metrics[name]["accuracy"]["test"] for name in ["cnn", "l2softmax"]}
    return "test accuracy " + ", ".join(f"{name} {accuracy:.2%}" for name, accuracy in accuracies.items())
