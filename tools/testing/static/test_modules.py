# SPDX-License-Identifier: GPL-2.0-only
"""The modules of each kernel that is prepared, as files."""

import re
import subprocess
from pathlib import Path

import pytest

from rnbdbench import settings

MODULES = ("rtrs.ko", "rnbd_client.ko", "rnbd_server.ko")

KNOWN_PANICS = re.compile(
    r"_R\w+4core(6option13(?:expect|unwrap)_failed|6result13unwrap_failed"
    r"|9panicking(5panic|9panic_fmt|18panic_bounds_check|19assert_failed_inner"
    r"|11panic_const24panic_const_\w+)|5slice5index\d+slice_\w+_fail)"
)
"""Functions of `core` that the objtool of every kernel knows to not return."""


def _folder(kernel: str) -> Path:
    folder = settings.kernel_files(kernel).drivers.get("rust")
    if not folder:
        pytest.skip(f"no modules are built for kernel {kernel}")
    return folder


@pytest.mark.parametrize("kernel", settings.available_kernels())
def test_exports_are_in_sections_that_stay(kernel: str) -> None:
    """The loader drops `.modinfo` and what runs once: on arm64 it then refuses the export."""
    folder = _folder(kernel)
    listed = (folder / "rtrs/bindings/exports_generated.h").read_text()
    exports = set(re.findall(r"\((\w+)\)", listed))
    assert len(exports) > 100

    def readelf(option: str) -> list[list[str]]:
        command = ["readelf", "-W", option, folder / "rtrs.ko"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [line.replace("[ ", "[").split() for line in output.splitlines()]

    sections = {words[0].strip("[]"): words[1] for words in readelf("-S") if len(words) > 6}
    homes = {words[7]: sections.get(words[6], words[6]) for words in readelf("-s") if len(words) > 7}
    dropped = re.compile(r"\.modinfo|__param|\.(init|exit)\.|UND|ABS|COM")
    assert [name for name in exports if dropped.match(homes[name])] == []


@pytest.mark.parametrize("kernel", settings.available_kernels())
def test_modules_panic_only_in_functions_that_objtool_knows(kernel: str) -> None:
    """Where another one is called at the end of a function, objtool warns of what follows."""
    folder = _folder(kernel)
    command = ["nm", "-u", *(folder / name for name in MODULES)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    panics = set(re.findall(r" U (_R\w+4core\w*(?:panic|fail)\w*)", output))
    assert panics
    assert [name for name in sorted(panics) if not KNOWN_PANICS.fullmatch(name)] == []
