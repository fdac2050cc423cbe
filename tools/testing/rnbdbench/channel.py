# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of the talk with a guest's agent (guest/agent.py)."""

import json
import queue
import socket
import threading
from typing import Any

from rnbdbench.waiting import Timeout


class GuestGone(Exception):
    """The guest is switched off, or ended on its own."""


class Channel:
    """Sends orders and hands each answer to whom it belongs."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._last_id = 0
        # The agent's first words, "I am up", have id 0.
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, order: dict[str, Any]) -> int:
        """Sends an order and returns the id to ask the answer with."""
        with self._lock:
            if self._closed:
                raise GuestGone("the guest does not run")
            self._last_id += 1
            number = self._last_id
            self._answers[number] = queue.Queue()
            line = json.dumps({"id": number, **order}).encode() + b"\n"
            try:
                self._connection.sendall(line)
            except OSError as error:
                raise GuestGone(f"the guest does not listen: {error}") from error
        return number

    def answer(self, number: int, timeout: float) -> dict[str, Any]:
        """Waits for the answer to an order."""
        try:
            answer = self._answers[number].get(timeout=timeout)
        except queue.Empty:
            raise Timeout(f"no answer from the guest within {timeout:.0f} s") from None
        if "gone" in answer:
            raise GuestGone("the guest ended before it answered")
        with self._lock:
            del self._answers[number]
        return answer

    def pending(self, number: int) -> bool:
        """Whether the answer to an order is still to come."""
        with self._lock:
            waiting = self._answers.get(number)
        return waiting is not None and waiting.empty()

    def ask(self, order: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Sends an order and waits for its answer."""
        return self.answer(self.send(order), timeout)

    def close(self) -> None:
        """Ends the talk; whoever waits is told that the guest is gone."""
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
                answer = json.loads(line)
                with self._lock:
                    waiting = self._answers.get(answer["id"])
                if waiting is not None:
                    waiting.put(answer)
        with self._lock:
            self._closed = True
            for waiting in self._answers.values():
                waiting.put({"gone": True})
