# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's machine protocol, as far as the bench uses it."""

import json
import socket
from typing import Any


class Monitor:
    """A connection to QEMU for commands."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        self._stream = connection.makefile("rw", encoding="utf-8")
        self._connection = connection
        self._ready = False

    def execute(self, command: str, **arguments: Any) -> Any:
        """Executes one command and returns its result."""
        if not self._ready:
            self._ready = True
            self._stream.readline()  # QEMU's greeting
            self.execute("qmp_capabilities")
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._stream.flush()
        while True:
            reply = json.loads(self._stream.readline())
            if "error" in reply:
                raise RuntimeError(f"QEMU refused {command}: {reply['error']['desc']}")
            # Events may come before it.
            if "return" in reply:
                return reply["return"]

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
