# SPDX-License-Identifier: GPL-2.0-only
"""The transport as its user sees it: sessions and their paths, in sysfs."""

from dataclasses import dataclass

from rnbdbench.guest import Guest

CLIENT_SESSIONS = "/sys/class/rtrs-client"
SERVER_SESSIONS = "/sys/class/rtrs-server"

LOSS = 40.0
"""Seconds until a path whose cable is out, or whose other end is gone, counts as lost.

Packets are sent again for 5 s; a path that is idle has missed its heartbeats after 30 s.
"""

RECONNECT = 40.0
"""Seconds from the loss of a path to the end of the next attempt: 30, up to 8, and 1."""

ATTEMPT = 30.0
"""Seconds until an attempt to connect is given up when nobody answers."""

TCP_ATTEMPT = 135.0
"""The same over soft iWARP, which leaves it to TCP if it knows the address of the card."""

MARGIN = 15.0
"""Seconds for what comes on top of these: work queues, clean-up, a slow machine."""

BACK = ATTEMPT + RECONNECT + MARGIN
"""Seconds until a path is back even if an attempt that must fail was just begun."""


def attempt(guest: Guest) -> float:
    """Seconds until an attempt of a guest is given up when nobody answers."""
    return TCP_ATTEMPT if guest.specification.fabric == "siw" else ATTEMPT


@dataclass(frozen=True)
class Counters:
    """What went over a path: the file `stats/rdma`."""

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
        """Reads and writes, sent again ones included."""
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
        """A file of the path, such as `state` or `stats/rdma`."""
        return self.guest.read(f"{self.folder}/{attribute}")

    def write(self, attribute: str, text: str = "1") -> str | None:
        """Writes to a file of the path; returns the name of the error, or None."""
        return self.guest.write(f"{self.folder}/{attribute}", text)

    def state(self) -> str:
        """`connected` or `disconnected`."""
        return self.read("state")

    def wait_for(self, state: str, timeout: float) -> None:
        """Waits until the path has a state."""
        self.guest.wait_until(
            lambda: self.state() == state, f"path {self.name} to be {state}", timeout
        )

    def disconnect(self) -> str | None:
        """Asks for the end of the connections; returns the name of the error."""
        return self.write("disconnect")

    def reconnect(self) -> str | None:
        """Asks for new connections, now; returns the name of the error."""
        return self.write("reconnect")

    def force_connection(self) -> None:
        """Connects by hand, as soon as the server has forgotten the old connections."""
        self.guest.wait_until(
            lambda: self.reconnect() is None, f"path {self.name} to reconnect", LOSS
        )
        assert self.state() == "connected"

    def remove(self) -> str | None:
        """Takes the path out of its session; returns the name of the error."""
        return self.write("remove_path")

    def latency(self) -> int:
        """Nanoseconds that the last heartbeat took."""
        number, unit = self.read("cur_latency").split()
        assert unit == "ns"
        return int(number)

    def counters(self) -> Counters:
        """What went over the path."""
        return Counters(*map(int, self.read("stats/rdma").split()))

    def wait_for_traffic(self, operations: int) -> None:
        """Waits until the path has carried more than so many operations since the call."""
        start = self.counters().operations
        self.guest.wait_until(
            lambda: self.counters().operations > start + operations, f"I/O over {self.name}"
        )

    def reconnects(self) -> tuple[int, int]:
        """How often it was connected again, and how often that failed."""
        successful, failed = map(int, self.read("stats/reconnects").split())
        return successful, failed

    def polled(self) -> int:
        """How many answers somebody polled for."""
        return int(self.read("stats/polled"))

    def reset(self) -> None:
        """Sets all counters to 0."""
        error = self.write("stats/reset_all")
        assert error is None, error


@dataclass(frozen=True)
class TransportSession:
    """A session, on one of the sides; on the server it only has paths."""

    guest: Guest
    folder: str

    def read(self, attribute: str) -> str:
        """A file of the session, such as `mpath_policy`."""
        return self.guest.read(f"{self.folder}/{attribute}")

    def write(self, attribute: str, text: str) -> str | None:
        """Writes to a file of the session; returns the name of the error, or None."""
        return self.guest.write(f"{self.folder}/{attribute}", text)

    def path_names(self) -> list[str]:
        """Names of the paths; none when there is no such session."""
        return self.guest.names(f"{self.folder}/paths")

    def path(self, name: str) -> TransportPath:
        """A path by its name."""
        return TransportPath(self.guest, f"{self.folder}/paths/{name}")

    def paths(self) -> list[TransportPath]:
        """All paths."""
        return [self.path(name) for name in self.path_names()]

    def add_path(self, text: str) -> str | None:
        """Asks for one more path, `[<source>@]<destination>`; returns the name of the error."""
        return self.write("add_path", text)

    def set_policy(self, text: str) -> str | None:
        """Chooses how paths are chosen; returns the name of the error."""
        return self.write("mpath_policy", text)

    def set_max_reconnect_attempts(self, text: str) -> str | None:
        """Limits attempts to reconnect (-1: for ever); returns the name of the error."""
        return self.write("max_reconnect_attempts", text)
