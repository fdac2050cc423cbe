# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of the connection to a guest's agent (guest/agent.py)."""

import json
import queue
import socket
import threading
from typing import Any

from rnbdbench.waiting import Timeout


class GuestGone(Exception):
    """The guest is powered off, or has ended by itself."""


class Channel:
    """Sends orders and hands each reply to the thread that waits for it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._last_id = 0
        # The agent reports with id 0 that it is up.
        self._replies: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, order: dict[str, Any]) -> int:
        """Sends an order; returns the number by which to wait for the reply."""
        with self._lock:
            if self._closed:
                raise GuestGone("the guest does not run")
            self._last_id += 1
            number = self._last_id
            self._replies[number] = queue.Queue()
            line = json.dumps({"id": number, **order}).encode() + b"\n"
            try:
                self._connection.sendall(line)
            except OSError as error:
                raise GuestGone(f"the guest does not read: {error}") from error
        return number

    def reply(self, number: int, timeout: float) -> dict[str, Any]:
        """Waits for the reply to an order."""
        try:
            reply = self._replies[number].get(timeout=timeout)
        except queue.Empty:
            raise Timeout(f"no reply from the guest within {timeout:.0f} s") from None
        if "gone" in reply:
            raise GuestGone("the guest ended before it replied")
        with self._lock:
            del self._replies[number]
        assert "failure" not in reply, f"the guest's agent failed: {reply['failure']}"
        return reply

    def expect_agent(self) -> None:
        """Lets `reply(0)` wait for the next agent: this one is about to end."""
        with self._lock:
            self._replies[0] = queue.Queue()

    def pending(self, number: int) -> bool:
        """Returns whether the reply to an order has not arrived yet."""
        with self._lock:
            waiting = self._replies.get(number)
        return waiting is not None and waiting.empty()

    def ask(self, order: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Sends an order and waits for the reply."""
        return self.reply(self.send(order), timeout)

    def close(self) -> None:
        """Closes the connection; waiting threads get `GuestGone`."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # QEMU closed its end first.
        self._reader.join()
        self._connection.close()

    def _read(self) -> None:
        pending = b""
        while True:
            try:
                received = self._connection.recv(65536)
            except OSError:
                received = b""
            if not received:
                break
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                reply = json.loads(line)
                with self._lock:
                    waiting = self._replies.get(reply["id"])
                if waiting is not None:
                    waiting.put(reply)
        with self._lock:
            self._closed = True
            for waiting in self._replies.values():
                waiting.put({"gone": True})
