# SPDX-License-Identifier: GPL-2.0-only
"""The folder for the logs of a run."""

import fcntl
import shutil
import tempfile
from pathlib import Path


class LogFolder:
    """A folder that no other run uses for as long as this object lives."""

    def __init__(self, wanted: Path) -> None:
        """Empties the folder, or makes one beside it if another run is using it."""
        wanted.parent.mkdir(parents=True, exist_ok=True)
        self._lock = wanted.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.path = Path(tempfile.mkdtemp(prefix=f"{wanted.name}-", dir=wanted.parent))
        else:
            shutil.rmtree(wanted, ignore_errors=True)
            wanted.mkdir()
            self.path = wanted
