# SPDX-License-Identifier: GPL-2.0-only
"""The transport as sysfs shows it: sessions and their paths."""

from dataclasses import dataclass

from rnbdbench.guest import Guest

CLIENT_SESSIONS = "/sys/class/rtrs-client"
SERVER_SESSIONS = "/sys/class/rtrs-server"

LOSS = 40.0
"""Seconds until a path is lost whose cable is out, or whose peer is gone.

Packets are retransmitted for 5 s; an idle path has missed its heartbeats after 30 s.
"""

RECONNECT = 40.0
"""Seconds from the loss of a path to the end of the next attempt: 30, up to 8, and 1."""

ATTEMPT = 30.0
"""Seconds after which an attempt to connect fails if the peer does not respond."""

TCP_ATTEMPT = 135.0
"""The same over soft iWARP, which relies on TCP once it knows the address of the card."""

MARGIN = 15.0
"""Seconds to add to these for work queues, clean-up and a slow machine."""

BACK = ATTEMPT + RECONNECT + MARGIN
"""Seconds until a path is back even if an attempt that must fail has just started."""


def attempt(guest: Guest) -> float:
    """Returns the seconds after which an attempt of a guest fails if the peer does not respond."""
    return TCP_ATTEMPT if guest.specification.fabric == "siw" else ATTEMPT


@dataclass(frozen=True)
class Counters:
    """The traffic of a path: the file `stats/rdma`."""

    reads: int
    bytes_read: int
    writes: int
    bytes_written: int
    # The server has the four above only.
    inflight: int = 0
    failovers: int = 0
    """Requests that this path took over from another one."""

    @property
    def operations(self) -> int:
        """The number of reads and writes, including those that were sent again."""
        return self.reads + self.writes


@dataclass(frozen=True)
class TransportPath:
    """A path of a session, on one of the sides."""

    guest: Guest
    folder: str

    @property
    def name(self) -> str:
        """Its addresses: `<source>@<destination>`, as the client sees them."""
        return self.folder.rsplit("/", 1)[-1]

    def read(self, attribute: str) -> str:
        """Reads a file of the path, such as `state` or `stats/rdma`."""
        return self.guest.read(f"{self.folder}/{attribute}")

    def write(self, attribute: str, text: str = "1") -> str | None:
        """Writes to a file of the path; returns the name of the error, or None."""
        return self.guest.write(f"{self.folder}/{attribute}", text)

    def state(self) -> str:
        """Returns `connected` or `disconnected`."""
        return self.read("state")

    def wait_for(self, state: str, timeout: float) -> None:
        """Waits until the path has a state."""
        self.guest.wait_until(
            lambda: self.state() == state, f"path {self.name} to be {state}", timeout
        )

    def disconnect(self) -> str | None:
        """Disconnects the path; returns the name of the error."""
        return self.write("disconnect")

    def reconnect(self) -> str | None:
        """Connects the path now; returns the name of the error."""
        return self.write("reconnect")

    def force_connection(self) -> None:
        """Connects the path, as soon as the server has dropped the old connections."""
        self.guest.wait_until(
            lambda: self.reconnect() is None, f"path {self.name} to reconnect", LOSS
        )
        assert self.state() == "connected"

    def remove(self) -> str | None:
        """Removes the path from its session; returns the name of the error."""
        return self.write("remove_path")

    def latency(self) -> int:
        """Returns the round-trip time of the last heartbeat in nanoseconds."""
        number, unit = self.read("cur_latency").split()
        assert unit == "ns"
        return int(number)

    def wait_for_heartbeats(self, count: int) -> None:
        """Waits until so many heartbeats got a response, by their round-trip times."""
        for _ in range(count):
            before = self.latency()
            self.guest.wait_until(
                lambda before=before: self.latency() != before, "a heartbeat", 30
            )

    def counters(self) -> Counters:
        """Reads the counters of the path."""
        return Counters(*map(int, self.read("stats/rdma").split()))

    def wait_for_traffic(self, operations: int) -> None:
        """Waits until the path has carried more than `operations` further operations."""
        start = self.counters().operations
        self.guest.wait_until(
            lambda: self.counters().operations > start + operations, f"I/O over {self.name}"
        )

    def reconnects(self) -> tuple[int, int]:
        """Returns how often the path was reconnected, and how often that failed."""
        successful, failed = map(int, self.read("stats/reconnects").split())
        return successful, failed

    def polled(self) -> int:
        """Returns how many responses were found by polling."""
        return int(self.read("stats/polled"))

    def reset(self) -> None:
        """Resets all counters to 0."""
        error = self.write("stats/reset_all")
        assert error is None, error


@dataclass(frozen=True)
class TransportSession:
    """A session, on one of the sides; the server shows only its paths."""

    guest: Guest
    folder: str

    def read(self, attribute: str) -> str:
        """Reads a file of the session, such as `mpath_policy`."""
        return self.guest.read(f"{self.folder}/{attribute}")

    def write(self, attribute: str, text: str) -> str | None:
        """Writes to a file of the session; returns the name of the error, or None."""
        return self.guest.write(f"{self.folder}/{attribute}", text)

    def path_names(self) -> list[str]:
        """Returns the names of the paths; none if there is no such session."""
        return self.guest.names(f"{self.folder}/paths")

    def path(self, name: str) -> TransportPath:
        """Returns the path with the given name."""
        return TransportPath(self.guest, f"{self.folder}/paths/{name}")

    def paths(self) -> list[TransportPath]:
        """Returns all paths."""
        return [self.path(name) for name in self.path_names()]

    def add_path(self, text: str) -> str | None:
        """Adds a path, `[<source>@]<destination>`; returns the name of the error."""
        return self.write("add_path", text)

    def set_policy(self, text: str) -> str | None:
        """Sets the multipath policy; returns the name of the error."""
        return self.write("mpath_policy", text)

    def set_max_reconnect_attempts(self, text: str) -> str | None:
        """Limits the attempts to reconnect (-1: no limit); returns the name of the error."""
        return self.write("max_reconnect_attempts", text)
