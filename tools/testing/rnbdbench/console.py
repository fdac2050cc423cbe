# SPDX-License-Identifier: GPL-2.0-only
"""What a guest's kernel says.

The console file holds every kernel message from boot on, and outlives the
guest; a mark is an offset in it.
"""

from pathlib import Path


class Console:
    """The console file of one guest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")

    def mark(self) -> int:
        """The present end, to be handed to `since` later."""
        return self.path.stat().st_size

    def since(self, mark: int = 0) -> str:
        """The text from a mark to the end."""
        with self.path.open("rb") as file:
            file.seek(mark)
            return file.read().decode(errors="replace").replace("\r", "")
