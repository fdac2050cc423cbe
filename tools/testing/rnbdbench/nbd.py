# SPDX-License-Identifier: GPL-2.0-only
"""A disk of a target whose driver sleeps: that of nbd, which sends to a server."""

from dataclasses import dataclass

from rnbdbench import image
from rnbdbench.guest import Guest
from rnbdbench.guest import Job

SERVER = "/run/nbd.pid"
"""The file with the process id of the server."""


@dataclass(frozen=True)
class NbdDisk:
    """A disk whose server can be stopped: its requests then wait in the driver."""

    guest: Guest
    job: Job
    server: str
    """The process id of the server."""
    node: str = "/dev/nbd0"

    @classmethod
    def make(cls, guest: Guest, megabytes: int) -> "NbdDisk":
        """Makes the only one of a guest; `remove` removes it.

        It has no scheduler, so that the task which submits a request calls the driver.  Who opens
        it first reads its table of partitions.
        """
        guest.run(
            f"modprobe nbd nbds_max=1 max_part=1 && rm -f {SERVER}"
            " && echo none > /sys/block/nbd0/queue/scheduler"
        )
        job = guest.begin(f"{image.program('nbd.py')} {cls.node} {megabytes} {SERVER}")

        def ready() -> bool:
            assert job.running, job.wait().stderr
            return guest.read("/sys/block/nbd0/size") == str(megabytes * 2048) and guest.exists(
                "/sys/block/nbd0/pid"
            )

        guest.wait_until(ready, "the nbd disk")
        return cls(guest, job, guest.read(SERVER))

    @property
    def name(self) -> str:
        """Its name in /sys/block."""
        return self.node.removeprefix("/dev/")

    def stop(self) -> None:
        """Makes requests wait."""
        self.guest.run(f"kill -STOP {self.server}")

    def go_on(self) -> None:
        """Executes requests again, those that waited first."""
        self.guest.run(f"kill -CONT {self.server}")

    def remove(self) -> None:
        """Removes the disk, which nobody has open."""
        self.guest.run(f"rm {SERVER}")
        self.job.cancel()
        self.job.wait()
        self.guest.wait_until(
            lambda: self.guest.run("rmmod nbd", check=False).code == 0, "nbd to be unused"
        )
