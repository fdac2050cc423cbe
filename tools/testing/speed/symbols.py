# SPDX-License-Identifier: GPL-2.0-only
"""Names for addresses of a guest's kernel."""

import bisect
import re
from collections.abc import Iterable

USER = "user space"
"""The module that addresses below the kernel count for."""

_KERNEL_START = 1 << 63

_NOISE = re.compile(r"(s|B|K[a-z])[0-9A-Za-z]*_")
"""Parts of a mangled name that distinguish crates and blocks, and back references."""

_LENGTH = re.compile(r"([1-9][0-9]*)_?")


def readable(name: str) -> str:
    """Turns a name in Rust's mangling (v0) into the sequence of its words; others stay.

    >>> readable("_RNvMs_NtNtCsbLMp_4rtrs6client4linkNtB4_4Link4post")
    'rtrs::client::link::Link::post'
    """
    if not name.startswith("_R"):
        return name
    words = []
    place = 2
    while place < len(name):
        noise = _NOISE.match(name, place)
        length = _LENGTH.match(name, place)
        if noise:
            place = noise.end()
        elif length:
            place = length.end() + int(length[1])
            words.append(name[length.end() : place])
        else:
            place += 1
    return "::".join(words) or name


CODE, DATA = "tTwW", "dDbBrRvV"
"""The letters of functions and of variables in /proc/kallsyms."""


class Symbols:
    """The functions of a running kernel, or its variables."""

    def __init__(self, lines: Iterable[str], kinds: str = CODE) -> None:
        """Reads /proc/kallsyms."""
        found = []
        for line in lines:
            address, kind, name, *module = line.split()
            if kind in kinds and not name.startswith((".L", "__pfx_")):
                found.append((int(address, 16), name, module[0].strip("[]") if module else ""))
        found.sort()
        self._addresses = [address for address, _, _ in found]
        self._functions = [(name, module) for _, name, module in found]

    def find(self, address: int) -> tuple[str, str, int]:
        """Returns name, module ("" for the kernel) and start of the function at an address."""
        place = bisect.bisect_right(self._addresses, address) - 1
        if address < _KERNEL_START or place < 0:
            return USER, USER, address
        name, module = self._functions[place]
        return name, module, self._addresses[place]
