# SPDX-License-Identifier: GPL-2.0-only
"""Lines of /etc/modprobe.d that were written for the C drivers."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rnbdbench import settings

LINES = """\
options rtrs_server sess_queue_depth=77
options rtrs max_paths=9
"""


def _loads(root: Path, release: str, module: str) -> dict[str, list[str]]:
    """What modprobe would load, in order, and with which parameters."""
    command = ["modprobe", "-d", root, "-C", root / "modprobe.d", "-S", release]
    shown = subprocess.run(
        [*command, "--show-depends", module], check=True, capture_output=True, text=True
    )
    loads = {}
    for line in shown.stdout.splitlines():
        _, path, *parameters = line.split()
        loads[Path(path).stem] = sorted(parameters)
    return loads


@pytest.fixture
def kernel() -> settings.KernelFiles:
    """A kernel with modules of this tree."""
    return settings.kernel_files(settings.available_kernels()[0])


def test_options_of_the_c_transport(tmp_path: Path, kernel: settings.KernelFiles) -> None:
    """They apply to a module that is loaded by C's name, as Documentation/c-drivers.md says."""
    folder = tmp_path / "lib/modules" / kernel.release
    folder.mkdir(parents=True)
    for file in kernel.drivers["rust"].glob("*.ko"):
        shutil.copy(file, folder)
    (tmp_path / "modprobe.d").mkdir()
    (tmp_path / "modprobe.d/rnbd.conf").write_text(LINES, encoding="utf-8")
    for listing in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        (folder / listing).touch()
    subprocess.run(["depmod", "-b", tmp_path, kernel.release], check=True)

    by_name = _loads(tmp_path, kernel.release, "rtrs_server")
    assert by_name == {"rtrs": ["max_paths=9", "sess_queue_depth=77"]}
    needed = _loads(tmp_path, kernel.release, "rnbd_server")
    assert needed == {"rtrs": ["max_paths=9"], "rnbd_server": []}
    assert list(_loads(tmp_path, kernel.release, "rtrs_client")) == ["rtrs"]
