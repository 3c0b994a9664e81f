"""Sweeps: independent trainings, several at a time, here or on a cluster, each with a record of its own."""

import contextlib
import hashlib
import os
import tempfile
import time
import warnings
from dataclasses import asdict
from pathlib import Path

from hypersphere import data, runs
from hypersphere.errors import InputError
from hypersphere.tables import SCRIPTS

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

ATTEMPTS = 3  # at a sweep whose workers die
# A trial is one core's work, so that its result depends neither on --jobs nor on the machine's number of cores.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
IN_A_CLONE = "start it in a clone, with PYTHONPATH=."


class Trial:
    """What decides the result of one training: a frozen dataclass whose record keeps all of it.

    A subclass has a `name`, that of its record, with folders.
    """

    @property
    def flags(self):
        """What the record says decided it."""
        return asdict(self)

    def record_path(self, out):
        """The file of its record under `out`."""
        return out / "results" / f"{self.name}.json"

    def read_record(self, out):
        """Its record; InputError if the file is damaged."""
        return runs.read_record(self.record_path(out), "delete it and run again")

    def is_recorded(self, out):
        """Whether this trial's record is there already; InputError if it was made with other settings."""
        if not self.record_path(out).is_file():
            return False
        flags = self.read_record(out)["flags"]
        differing = [key for key, value in self.flags.items() if flags.get(key) != value]
        if differing:
            path = self.record_path(out)
            raise InputError(f"{path}: made with another {', '.join(differing)}; delete it or give another --out")
        return True


def add_flags(parser):
    """The flags of every sweep: --precision, --jobs and --dask."""
    runs.add_precision(parser)
    parser.add_argument("--jobs", type=runs.positive_int, default=min(os.cpu_count(), 4), help="at a time, %(default)s")
    parser.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, whose workers run the trials instead")


def run(function, planned, args, describe):
    """Run the trials that have no record yet, each in a process, several at a time, and print each one's end.

    function : called with a trial, args.data and a folder to write to; returns the trial and its metrics.
    describe : metrics to the words of the progress line.
    The processes are --jobs on this machine, or the workers of the scheduler --dask. A trial whose worker dies runs
    again; InputError if that goes on.
    """
    for _ in range(ATTEMPTS):
        todo = [trial for trial in planned if not trial.is_recorded(args.out)]
        where = f"on {args.dask}" if args.dask else f"{args.jobs} at a time"
        print(f"{len(planned)} trials, {len(todo)} of them to run, {where}", flush=True)
        if not todo:
            return
        started, done = time.perf_counter(), len(planned) - len(todo)
        finished = _on_cluster(function, todo, args) if args.dask else _on_this_machine(function, todo, args)
        try:
            with contextlib.closing(finished):
                for number, (trial, metrics) in enumerate(finished, 1):
                    minutes = (time.perf_counter() - started) / number * (len(todo) - number) / 60
                    progress = f"{done + number} of {len(planned)}: {trial.name}: {describe(metrics)}"
                    print(f"{progress}; {minutes:.0f} minutes left", flush=True)
            return
        except TerminatedWorkerError:
            print("a worker was killed; what it was at runs again", flush=True)
    raise InputError(f"workers were killed {ATTEMPTS} times: give fewer --jobs, or this machine more memory")


def _on_this_machine(function, todo, args):
    os.environ |= ONE_THREAD  # worker processes inherit it
    # TensorFlow keeps about 40 MB of every trial; joblib, with psutil, replaces a worker that has grown by 300 MB.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    # With one worker joblib would run the trials in this process: there are at least two, of which --jobs are busy.
    parallel = joblib.Parallel(max(2, args.jobs), return_as="generator_unordered", pre_dispatch=args.jobs)
    with contextlib.closing(parallel(joblib.delayed(function)(trial, args.data, args.out) for trial in todo)) as ended:
        yield from ended  # closing ends the workers of an interrupted run


def fetch_cifar10(args):
    """Download CIFAR-10 if it is nowhere, before several trials do it at once, or say that it is left out.

    InputError if the workers of a cluster do not all have the same.
    """
    try:
        data.find_cifar10(args.data)
    except data.DownloadError as error:
        print(f"{error}; its column is left out")
    if args.dask:
        with _client(args.dask) as client:
            differing = _differing(client, data.cifar10_sha256, args.data)
        if differing:
            remedy = "put one copy into each clone's data/, or into the folder named with --data"
            raise InputError(f"--dask {args.dask}: {differing} and this machine differ in CIFAR-10; {remedy}")


def _on_cluster(function, todo, args):
    # Not through joblib's backend for Dask, which waits forever for a trial whose workers die again and again.
    import distributed

    with _client(args.dask) as client:
        differing = _differing(client, _code_sha256)
        if differing:
            raise InputError(f"--dask {args.dask}: {differing} has another version of this project; update its clone")
        futures = [client.submit(_bring_back, function, trial, args.data, pure=False) for trial in todo]
        trials = {future.key: trial for future, trial in zip(futures, todo, strict=True)}
        for future in distributed.as_completed(futures):  # a trial whose worker dies has gone to another one
            trial = trials[future.key]
            try:
                metrics, files = future.result()
            except distributed.KilledWorker:
                problem = f"{trial.name} killed every worker; look at a worker's log"
                raise InputError(f"--dask {args.dask}: {problem}") from None
            except distributed.CancelledError as error:
                raise InputError(f"--dask {args.dask}: {error}; run again when the cluster is back") from None
            except RuntimeError as error:
                if "deserialization of the task graph" not in str(error):
                    raise
                raise InputError(f"--dask {args.dask}: the scheduler cannot load this project; {IN_A_CLONE}") from None
            except InputError as error:
                raise InputError(f"--dask {args.dask}: {trial.name}: {error}") from None
            # The record comes last: it says that the rest is there.
            for name in sorted(files, key=lambda name: args.out / name == trial.record_path(args.out)):
                (args.out / name).parent.mkdir(parents=True, exist_ok=True)
                with runs.replacing(args.out / name) as beside:
                    beside.write_bytes(files[name])
            future.release()
            yield trial, metrics


def _client(address):
    """A client of a Dask scheduler whose workers have one thread each; InputError if there is none."""
    try:
        import distributed
    except ImportError:
        raise InputError("--dask: Dask is not installed; pip install distributed") from None
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        command = "PYTHONPATH=. dask scheduler"
        raise InputError(f"--dask {address}: no scheduler answers ({error}); start one with: {command}") from None
    threads = client.nthreads()
    if set(threads.values()) != {1}:
        client.close()
        found = f"workers with {sorted(set(threads.values()))} threads" if threads else "no worker"
        command = f"PYTHONPATH=. dask worker {address} --nthreads 1"
        raise InputError(f"--dask {address}: {found}; start them in a clone with: {command}")
    return client


def _differing(client, function, *arguments):
    """The address of a worker where a function gives something else than here, "" if there is none."""
    here = function(*arguments)
    try:
        there = client.run(function, *arguments)
    except Exception as error:  # Dask makes a bare one of what a worker cannot import
        problem = f"a worker cannot load this project ({error})"
        raise InputError(f"--dask {client.scheduler.address}: {problem}; {IN_A_CLONE}") from None
    return next((worker for worker, value in there.items() if value != here), "")


def _code_sha256():
    files = [*sorted(runs.PROJECT.glob("hypersphere/*.py")), *(runs.PROJECT / name for name in SCRIPTS.values())]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _bring_back(function, trial, folder):
    """Run a trial on a worker: its metrics and the files that it wrote, {path under its folder: bytes}."""
    os.environ |= ONE_THREAD
    with tempfile.TemporaryDirectory() as out:
        out = Path(out)
        _, metrics = function(trial, folder, out)
        return metrics, {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
