# SPDX-License-Identifier: GPL-2.0-only
"""Writing initramfs archives (cpio, format "newc").

The format is described in Documentation/driver-api/early-userspace/buffer-format.rst
of the kernel source.
"""

import stat
from pathlib import Path
from typing import BinaryIO


class Archive:
    """An archive under construction.  Call `finish` when it is complete."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._inode = 0
        self._folders: set[str] = set()

    def file(self, name: str, content: bytes, executable: bool = False) -> None:
        """Adds a regular file, and the folders above it."""
        self._parents(name)
        mode = stat.S_IFREG | (0o755 if executable else 0o644)
        self._entry(name, mode, content)

    def copy(self, name: str, source: Path) -> None:
        """Adds a file of the host, with its permission to execute."""
        executable = bool(source.stat().st_mode & stat.S_IXUSR)
        self.file(name, source.read_bytes(), executable)

    def link(self, name: str, target: str) -> None:
        """Adds a symbolic link."""
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def console(self) -> None:
        """Adds /dev/console, which the kernel opens for process 1."""
        self._parents("dev/console")
        self._entry("dev/console", stat.S_IFCHR | 0o600, b"", device=(5, 1))

    def finish(self) -> None:
        """Writes the end mark."""
        self._entry("TRAILER!!!", 0, b"")

    def _parents(self, name: str) -> None:
        for parent in reversed(Path(name).parents[:-1]):
            if str(parent) not in self._folders:
                self._folders.add(str(parent))
                self._entry(str(parent), stat.S_IFDIR | 0o755, b"")

    def _entry(
        self, name: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)
    ) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        numbers = [
            self._inode,
            mode,
            0,  # user
            0,  # group
            1,  # links
            0,  # time of modification
            len(content),
            0,  # device that holds the file
            0,
            *device,
            len(encoded),
            0,  # checksum, unused by this format
        ]
        header = b"070701" + b"".join(b"%08X" % number for number in numbers)
        self._padded(header + encoded)
        self._padded(content)

    def _padded(self, content: bytes) -> None:
        self._output.write(content + b"\0" * (-len(content) % 4))
