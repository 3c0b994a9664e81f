"""An experiment that trains nothing, for the tests of the sweep runner."""

import os
import signal
import time
from pathlib import Path


def run_trial(name, settings, data, models):
    """Write down the process; die if the file `deadly` is there, and take it along unless `every_time`."""
    time.sleep(0.2)
    deadly = settings.get("deadly")
    if deadly and Path(deadly).exists():
        if not settings.get("every_time"):
            Path(deadly).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    models.mkdir(parents=True, exist_ok=True)
    (models / f"{name}.txt").write_text(name)
    return {"name": name, "settings": settings, "metrics": {"process": os.getpid()}}
