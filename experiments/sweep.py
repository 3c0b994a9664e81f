"""Runs an experiment's trials, several at a time, on this machine or on a Dask cluster.

An experiment is a module with `run_trial(name, settings, data, models)`: it runs one trial, whose result is decided by
`settings` alone, keeps networks in the folder `models` if it likes, and returns the trial's record. The records are
the lines of one file; a trial that has its line is never run again.
"""

import contextlib
import hashlib
import importlib
import json
import os
import tempfile
import warnings
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from common import cli, records, training
from common.cli import PROJECT
from hypersphere import datasets
from hypersphere.errors import InputError
from hypersphere.files import make_writable, replacing

ATTEMPTS = 3  # at a sweep whose workers die
# A trial is one core's work, so that its result depends neither on --jobs nor on the machine's number of cores.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
CIFAR10_SPLITS = {"cifar10_sha256": "t10k", "cifar10_train_sha256": "train"}  # settings, and what they are of
IN_A_CLONE = "start it in a clone, with PYTHONPATH=."


def add_flags(parser):
    """The flags of every sweep: --precision, --jobs and --dask."""
    parser.add_argument(
        "--precision",
        choices=list(training.POLICIES),
        default="float32",
        help="of the convolutions in training, %(default)s",
    )
    parser.add_argument("--jobs", type=cli.positive_int, default=min(os.cpu_count(), 4), help="at a time, %(default)s")
    parser.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, whose workers run the trials instead")


def run(experiment, trials, args, records_name):
    """Run the trials that have no record yet; returns the records of all, in the order of the trials.

    experiment : the module's name; trials : {name: settings}; args : the flags, with data, out, jobs and dask.
    records_name : of the file, `results/NAME.jsonl` under args.out; networks go into `models/NAME`.
    A trial whose worker is killed runs again; InputError if that goes on, or if a record was made with other settings.
    """
    path, models = args.out / "results" / f"{records_name}.jsonl", args.out / "models" / records_name
    make_writable(models)
    for _ in range(ATTEMPTS):
        done = finished(path, trials)
        todo = {name: settings for name, settings in trials.items() if name not in done}
        if not todo:
            break
        where = f"on {args.dask}" if args.dask else f"{args.jobs} at a time"
        print(f"{len(trials)} trials, {len(todo)} of them to run, {where}; their records: {path}", flush=True)
        start = _on_cluster if args.dask else _on_this_machine
        try:
            with (
                cli.progress(len(todo), "trial", records_name) as line,
                contextlib.closing(start(experiment, todo, args, models)) as ended,
            ):
                for record in ended:
                    records.append_record(path, record)
                    line.set_postfix_str(record["name"], refresh=False)
                    line.update()
        except TerminatedWorkerError:
            print("a worker was killed; what it was at runs again", flush=True)
    else:
        raise InputError(f"workers were killed {ATTEMPTS} times: give fewer --jobs, or this machine more memory")
    done = finished(path, trials)
    return [done[name] for name in trials]


def finished(path, trials):
    """The records of those trials that have one, {name: record}; InputError if one was made with other settings."""
    done = {record["name"]: record for record in records.read_records(path) if record["name"] in trials}
    for name, record in done.items():
        expected, found = json.loads(json.dumps(trials[name])), record["settings"]
        differing = sorted(key for key in expected | found if expected.get(key) != found.get(key))
        if differing:
            raise InputError(f"{path}: {name} was made with another {', '.join(differing)}; give another --out")
    return done


def cifar10_setting(data):
    """SHA-256 of the CIFAR-10 test file in use, downloaded if it is nowhere; None, with a sentence, if it cannot be."""
    try:
        datasets.find_cifar10(data)
    except datasets.DownloadError as error:
        print(f"{error}; CIFAR-10 is left out")
        return None
    return datasets.cifar10_sha256(data)


def _run(experiment, name, settings, data, models):
    for key, split in CIFAR10_SPLITS.items():
        if settings.get(key) not in (None, datasets.cifar10_sha256(data, split)):
            raise InputError(f"{name}: this machine has another CIFAR-10 than the one that started the sweep, or none")
    return importlib.import_module(experiment).run_trial(name, settings, data, models)


def _on_this_machine(experiment, todo, args, models):
    os.environ |= ONE_THREAD  # worker processes inherit it
    # TensorFlow keeps about 40 MB of every trial; joblib, with psutil, replaces a worker that has grown by 300 MB.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    # With one worker joblib would run the trials in this process: there are at least two, of which --jobs are busy.
    parallel = joblib.Parallel(max(2, args.jobs), return_as="generator_unordered", pre_dispatch=args.jobs)
    tasks = (joblib.delayed(_run)(experiment, name, settings, args.data, models) for name, settings in todo.items())
    with contextlib.closing(parallel(tasks)) as ended:
        yield from ended  # closing ends the workers of an interrupted run


def _on_cluster(experiment, todo, args, models):
    # Not through joblib's backend for Dask, which waits forever for a trial whose workers die again and again.
    import distributed

    with _client(args.dask) as client:
        futures = {}
        for name, settings in todo.items():
            future = client.submit(_run_and_bring_back, experiment, name, settings, args.data, pure=False)
            futures[future.key] = name
            todo[name] = future
        for future in distributed.as_completed(todo.values()):  # a trial whose worker dies has gone to another one
            name = futures[future.key]
            try:
                record, networks = future.result()
            except distributed.KilledWorker:
                problem = f"{name} killed every worker; look at a worker's log"
                raise InputError(f"--dask {args.dask}: {problem}") from None
            except distributed.CancelledError as error:
                raise InputError(f"--dask {args.dask}: {error}; run again when the cluster is back") from None
            except RuntimeError as error:
                if "deserialization of the task graph" not in str(error):
                    raise
                raise InputError(f"--dask {args.dask}: the scheduler cannot load this project; {IN_A_CLONE}") from None
            except InputError as error:
                raise InputError(f"--dask {args.dask}: {error}") from None
            for file, content in networks.items():  # before the record, which says that they are there
                (models / file).parent.mkdir(parents=True, exist_ok=True)
                with replacing(models / file) as beside:
                    beside.write_bytes(content)
            future.release()
            yield record


def _run_and_bring_back(experiment, name, settings, data):
    """Run a trial on a worker: its record and the files that it kept, {path: bytes}."""
    os.environ |= ONE_THREAD
    with tempfile.TemporaryDirectory() as models:
        models = Path(models)
        record = _run(experiment, name, settings, data, models)
        kept = {str(path.relative_to(models)): path.read_bytes() for path in models.rglob("*") if path.is_file()}
        return record, kept


def _client(address):
    """A client of a Dask scheduler whose workers have one thread each and this code; InputError if there is none."""
    try:
        import distributed
    except ImportError:
        raise InputError("--dask: Dask is not installed; pip install distributed") from None
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        command = "PYTHONPATH=. dask scheduler"
        raise InputError(f"--dask {address}: no scheduler answers ({error}); start one with: {command}") from None
    try:
        threads = client.nthreads()
        if set(threads.values()) != {1}:
            found = f"workers with {sorted(set(threads.values()))} threads" if threads else "no worker"
            command = f"PYTHONPATH=. dask worker {address} --nthreads 1"
            raise InputError(f"--dask {address}: {found}; start them in a clone with: {command}")
        versions = client.run(code_sha256)
    except InputError:
        client.close()
        raise
    except Exception as error:  # Dask makes a bare one of what a worker cannot import
        client.close()
        raise InputError(f"--dask {address}: a worker cannot load this project ({error}); {IN_A_CLONE}") from None
    differing = next((worker for worker, version in versions.items() if version != code_sha256()), None)
    if differing:
        client.close()
        raise InputError(f"--dask {address}: {differing} has another version of this project; update its clone")
    return client


def code_sha256():
    """SHA-256 of all code that a trial may run."""
    files = [path for pattern in ["*.py", "*/*.py"] for path in PROJECT.glob(pattern)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()
