# SPDX-License-Identifier: GPL-2.0-only
"""RNBD as a user sees it: modules, sysfs files, devices."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rnbdbench import disks
from rnbdbench import drivers
from rnbdbench import network
from rnbdbench import rtrs
from rnbdbench.commands import Job
from rnbdbench.guest import Guest

CONTROL = "/sys/class/rnbd-client/ctl"
MAP_DEVICE = f"{CONTROL}/map_device"
DEVICES = f"{CONTROL}/devices"
SERVER_CONTROL = "/sys/class/rnbd-server/ctl"
SERVER_DEVICES = f"{SERVER_CONTROL}/devices"
EXPORT_RULES = f"{SERVER_CONTROL}/export_rules"


def link_name(device_path: str, session: str) -> str:
    """Returns the name of a mapping below `devices/`."""
    return f"{device_path.replace('/', '!')}@{session}"


@dataclass(frozen=True)
class Device:
    """A mapped device on the initiator."""

    guest: Guest
    name: str
    """Such as `rnbd0`."""

    @property
    def node(self) -> str:
        """The path of its device node."""
        return f"/dev/{self.name}"

    def read(self, attribute: str) -> str:
        """Reads a file of /sys/block/<name>/, such as `rnbd/state` or `size`."""
        return self.guest.read(f"/sys/block/{self.name}/{attribute}")

    def wait_for_state(self, state: str) -> None:
        """Waits until `rnbd/state` has the given content."""
        self.guest.wait_until(
            lambda: self.read("rnbd/state") == state, f"{self.name} to be {state}"
        )

    def begin_read(self) -> Job:
        """Starts a read of one block."""
        return self.guest.begin(
            f"dd if={self.node} of=/dev/null bs=4k count=1 iflag=direct status=none"
        )

    def wait_for_read(self) -> None:
        """Waits until a read is in flight, even if it never completes."""
        self.guest.wait_until(
            lambda: self.read("inflight").split()[0] != "0", "the request to be in flight"
        )

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Has a program keep the disk open for the duration of a `with` block."""
        holder = self.guest.begin(f"exec sleep infinity <{self.node}")
        opened = f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q '{self.node}$'"
        self.guest.wait_until(
            lambda: self.guest.run(opened, check=False).code == 0, "the disk to be open"
        )
        yield
        holder.cancel()
        holder.wait()

    def unmap(self, mode: str = "normal") -> str | None:
        """Unmaps the device; returns the name of the error."""
        return self.guest.write(f"/sys/block/{self.name}/rnbd/unmap_device", mode)

    def exists(self) -> bool:
        """Returns whether the block device exists."""
        return self.guest.exists(f"/sys/block/{self.name}")


class Initiator:
    """The client side, in a guest."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def load(self) -> None:
        """Loads the client module."""
        drivers.load(self.guest, "rnbd_client")

    def request(self, text: str) -> str | None:
        """Writes to map_device; returns the name of the error, or None."""
        return self.guest.write(MAP_DEVICE, text, timeout=120)

    def map(
        self,
        device_path: str,
        session: str = "bench",
        path: str | None = None,
        paths: Sequence[str] = (),
        **options: str | int,
    ) -> Device:
        """Maps a device of the target and waits for its device node.

        `path` defaults to the target's IPv4 address; "" leaves the option out.
        `paths` names several of them.
        """
        words = [f"sessname={session}"]
        if path is None:
            path = network.TARGET.path()
        words += [f"path={each}" for each in paths or [path] if each]
        words.append(f"device_path={device_path}")
        words += [f"{name}={value}" for name, value in options.items()]
        line = " ".join(words)
        error = self.request(line)
        assert error is None, f"map_device of {line!r} gives {error}"
        if self.guest.specification.drivers == "c":
            self._avoid_skipped_paths(session)
        return self.find(device_path, session)

    def _avoid_skipped_paths(self, session: str) -> None:
        """Avoids a bug of the C client in tests that are not about it.

        With its default policy, min-inflight, a request that is preempted while it
        chooses a path leaves that path marked as tried for its CPU; the next request on
        that CPU finds no path at all and fails with ECONNABORTED.  Round-robin does not
        use these marks.
        """
        error = self.transport(session).set_policy("round-robin")
        assert error is None, error

    def find(self, device_path: str, session: str = "bench") -> Device:
        """Returns the device of a mapping, once its node exists."""
        link = f"{DEVICES}/{link_name(device_path, session)}"
        device = Device(self.guest, self.guest.real(link).rsplit("/", 1)[-1])
        self.guest.wait_until(lambda: self.guest.is_block_device(device.node), device.node)
        return device

    def transport(self, session: str = "bench") -> rtrs.TransportSession:
        """Returns a session of the transport."""
        return rtrs.TransportSession(self.guest, f"{rtrs.CLIENT_SESSIONS}/{session}")

    def transports(self) -> list[str]:
        """Returns the names of the sessions of the transport."""
        return self.guest.names(rtrs.CLIENT_SESSIONS)

    def devices(self) -> list[Device]:
        """Returns all mapped devices."""
        names = self.guest.names("/sys/block")
        return [Device(self.guest, name) for name in names if name.startswith("rnbd")]

    def sessions(self) -> list[str]:
        """Returns the names of the sessions that have devices mapped."""
        return sorted({device.read("rnbd/session") for device in self.devices()})


class Target:
    """The server side, in a guest."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def load(
        self,
        always_invalidate: bool = True,
        transport: Mapping[str, str | int] | None = None,
        **parameters: str | int,
    ) -> None:
        """Loads the server module; `parameters` are those of rnbd_server.

        `transport` has those of rtrs.
        """
        rust = self.guest.specification.drivers == "rust"
        asked: dict[str, str | int] = {}
        if self.guest.specification.kernel == "sanitize":
            # Setting up a buffer takes thousands of checks there.
            asked["sess_queue_depth"] = 64
        if not always_invalidate:
            asked["always_invalidate"] = "N"
        asked.update(transport or {})
        if asked:
            words = " ".join(f"{name}={value}" for name, value in asked.items())
            drivers.load(self.guest, "rtrs" if rust else "rtrs_server", words)
        words = " ".join(f"{name}={value}" for name, value in parameters.items())
        drivers.load(self.guest, "rnbd_server", words)

    def ram_disk(self, megabytes: int = 128, count: int = 1) -> str:
        """Makes RAM disks, /dev/ram0 and so on; returns the path of the first one.

        A kernel with a built-in driver always has them, in one size.
        """
        self.guest.run(f"modprobe brd rd_nr={count} rd_size={megabytes * 1024}")
        return "/dev/ram0"

    def null_disk(self, **attributes: int) -> str:
        """Makes a null_blk device with the given configfs attributes; returns its path.

        Its name is /dev/nullb7, or has the next free number.
        """
        name = self.guest.output(
            "modprobe null_blk nr_devices=0 && (mountpoint -q /sys/kernel/config"
            " || mount -t configfs configfs /sys/kernel/config)"
            f" && number=7 && while [ -e {disks.NULL_DISKS}/nullb$number ];"
            " do number=$((number + 1)); done && echo nullb$number"
        )
        folder = f"{disks.NULL_DISKS}/{name}"
        settings = {"size": 64, "memory_backed": 1, **attributes, "power": 1}
        commands = [f"mkdir {folder}"]
        commands += [f"echo {value} > {folder}/{key}" for key, value in settings.items()]
        self.guest.run(" && ".join(commands))
        return f"/dev/{name}"

    def transport(self, session: str = "bench") -> rtrs.TransportSession:
        """Returns a session of the transport."""
        return rtrs.TransportSession(self.guest, f"{rtrs.SERVER_SESSIONS}/{session}")

    def transports(self) -> list[str]:
        """Returns the names of the sessions of the transport."""
        return self.guest.names(rtrs.SERVER_SESSIONS)

    def write_rules(self, *lines: str) -> str | None:
        """Writes to export_rules, all at once; returns the name of the error, or None."""
        return self.guest.write(EXPORT_RULES, "".join(f"{line}\n" for line in lines))

    def read_rules(self) -> str:
        """Reads export_rules."""
        return self.guest.read(EXPORT_RULES)

    def sessions(self) -> list[str]:
        """Returns the names of the sessions that have devices open."""
        folders = [f"{SERVER_DEVICES}/{export}/sessions" for export in self.exports()]
        return sorted({name for folder in folders for name in self.guest.names(folder)})

    def exports(self) -> list[str]:
        """Returns the names of the devices that clients have open."""
        return self.guest.names(SERVER_DEVICES)
