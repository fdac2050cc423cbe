# SPDX-License-Identifier: GPL-2.0-only
"""The console of a guest.

The console file has every kernel message since the guest was booted, and outlives the
guest; a mark is an offset in it.
"""

from pathlib import Path


class Console:
    """The console file of one guest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")

    def mark(self) -> int:
        """Returns the current end, for a later call of `since`."""
        return self.path.stat().st_size

    def since(self, mark: int = 0) -> str:
        """Returns the text from a mark to the end, in whole lines.

        The emulated serial port writes a character at a time: the last line may not be whole yet.
        """
        with self.path.open("rb") as file:
            file.seek(mark)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        return whole.decode(errors="replace").replace("\r", "")
