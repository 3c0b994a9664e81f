"""Runs a study's trials on a Dask cluster instead of this machine."""

import hashlib
import tempfile
from pathlib import Path

from common.cli import PROJECT
from hypersphere.errors import InputError
from hypersphere.files import replacing


def run(run_trial, module, todo, args, models):
    """Yield the records of trials, {name: settings}, as they end; the networks that they keep come to `models`.

    run_trial : `sweep.run_trial`, which runs on the workers.
    Not through joblib's backend for Dask, which waits forever for a trial whose workers die again and again.
    """
    import distributed

    with connect(args.dask) as client:
        futures = {}
        for name, settings in todo.items():
            futures[client.submit(_run_and_bring_back, run_trial, module, name, settings, args.data, pure=False)] = name
        for future in distributed.as_completed(futures):  # a trial whose worker dies has gone to another one
            try:
                record, files = future.result()
            except (InputError, distributed.KilledWorker, distributed.CancelledError) as error:
                raise InputError(f"--dask {args.dask}: {futures[future]}: {error}; see the workers' logs") from None
            for file, content in files.items():  # before the record, which says that they are there
                (models / file).parent.mkdir(parents=True, exist_ok=True)
                with replacing(models / file) as beside:
                    beside.write_bytes(content)
            future.release()
            yield record


def _run_and_bring_back(run_trial, module, name, settings, data):
    """Run a trial on a worker: its record and the files that it kept, {path: bytes}."""
    with tempfile.TemporaryDirectory() as folder:
        record = run_trial(module, name, settings, data, Path(folder))
        kept = [path for path in Path(folder).rglob("*") if path.is_file()]
        return record, {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def connect(address):
    """A client of a Dask scheduler whose workers have one thread each and this code; InputError if there is none."""
    try:
        import distributed

        client = distributed.Client(address, timeout=10)
    except (ImportError, OSError, ValueError) as error:
        words = f"no Dask, or no scheduler answers ({error}); see docs/extending.md"
        raise InputError(f"--dask {address}: {words}") from None
    problem = None
    try:
        if set(client.nthreads().values()) != {1}:
            problem = "no workers, or not of one thread each"
        elif {client.run_on_scheduler(code_sha256), *client.run(code_sha256).values()} != {code_sha256()}:
            problem = "the scheduler or a worker has another version of this project"
    except Exception as error:  # Dask makes a bare one of what a process cannot import
        problem = f"the scheduler or a worker cannot load this project ({error})"
    if problem:
        client.close()
        remedy = f"start workers in a clone: PYTHONPATH=. dask worker {address} --nthreads 1"
        raise InputError(f"--dask {address}: {problem}; {remedy}")
    return client


def code_sha256():
    """SHA-256 of all code that a trial may run."""
    files = [path for pattern in ["*.py", "*/*.py"] for path in PROJECT.glob(pattern)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()
