# SPDX-License-Identifier: GPL-2.0-only
"""The program that runs a guest: process 1 at first, which executes orders of the host.

Orders and replies are JSON objects, one a line, over a virtio-serial port.  Every order
has an ``id`` that its reply repeats, so several orders may run at the same time:

``{"id": 1, "do": "run", "command": "lsblk"}``
    runs a shell command and returns ``code``, ``stdout`` and ``stderr``;
``{"id": 2, "do": "write", "path": "...", "text": "..."}``
    writes a file in one system call and returns ``errno`` (0: success);
``{"id": 3, "do": "cancel", "target": 1}``
    kills the process group of a running command;
``{"id": 4, "do": "read", "path": "..."}``
    reads a file and returns ``text`` and ``errno``;
``{"id": 5, "do": "look", "path": "..."}``
    returns the ``kind`` of a file ("" if it does not exist), its ``names`` if it is a
    directory, and the path without symbolic links as ``real``;
``{"id": 6, "do": "replace", "command": ["..."]}``
    replaces process 1 by a program, without a reply; the program starts the agent again, as
    another process.

Reading and looking start no program, which takes a second on the sanitizing kernel.
"""

import contextlib
import glob
import json
import os
import signal
import stat
import subprocess
import threading
import traceback

PORT_NAME = "agent"
PORTS = "/sys/class/virtio-ports"

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFBLK: "block"}


def find_port():
    """Returns the path of the virtio-serial port with our name."""
    # The console's port has no name.
    for path in glob.glob(f"{PORTS}/*/name"):
        with open(path, encoding="ascii") as name:
            if name.read().strip() == PORT_NAME:
                return f"/dev/{path.split('/')[-2]}"
    raise SystemExit(f"no virtio-serial port is called {PORT_NAME}")


class Agent:
    """Reads orders, and executes each in a thread of its own."""

    def __init__(self, port):
        self.port = port
        self.sending = threading.Lock()
        self.running = {}

    def reply(self, order, **fields):
        """Sends one reply as a whole line, with other threads doing the same."""
        line = json.dumps({"id": order["id"], **fields}).encode() + b"\n"
        with self.sending:
            while line:
                line = line[os.write(self.port, line):]

    def run(self, order):
        """Runs a shell command in a process group of its own."""
        process = subprocess.Popen(
            ["bash", "-c", order["command"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=ENVIRONMENT,
            cwd="/root",
        )
        self.running[order["id"]] = process.pid
        stdout, stderr = process.communicate()
        del self.running[order["id"]]
        self.reply(
            order,
            code=process.returncode,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    def write(self, order):
        """Writes to a file by one system call, as sysfs requires."""
        number = 0
        try:
            file = os.open(order["path"], os.O_WRONLY)
            try:
                os.write(file, order["text"].encode())
            finally:
                os.close(file)
        except OSError as error:
            number = error.errno
        self.reply(order, errno=number)

    def read(self, order):
        """Reads a whole file."""
        text, number = "", 0
        try:
            with open(order["path"], "rb") as file:
                text = file.read().decode(errors="replace")
        except OSError as error:
            number = error.errno
        self.reply(order, text=text, errno=number)

    def look(self, order):
        """Returns the kind of a file."""
        path = order["path"]
        try:
            mode = os.stat(path).st_mode
            kind = KINDS.get(stat.S_IFMT(mode), "other")
            names = sorted(os.listdir(path)) if kind == "directory" else []
        except OSError:
            # It does not exist, or was removed.
            kind, names = "", []
        self.reply(order, kind=kind, names=names, real=os.path.realpath(path))

    def replace(self, order):
        """Lets another program be process 1."""
        os.execve(order["command"][0], order["command"], ENVIRONMENT)

    def cancel(self, order):
        """Kills a running command and its child processes."""
        leader = self.running.get(order["target"])
        if leader is not None:
            # It may have ended by itself, just now.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
        self.reply(order, found=leader is not None)

    def serve(self):
        """Executes orders until the guest is powered off."""
        actions = {
            "run": self.run,
            "write": self.write,
            "cancel": self.cancel,
            "read": self.read,
            "look": self.look,
            "replace": self.replace,
        }
        pending = b""
        while True:
            *lines, pending = (pending + os.read(self.port, 65536)).split(b"\n")
            for line in lines:
                order = json.loads(line)
                action = actions[order["do"]]
                threading.Thread(target=self.act, args=(action, order), daemon=True).start()

    def act(self, action, order):
        """Executes an order; if that fails, the reply has the reason as ``failure``."""
        try:
            action(order)
        except Exception:
            self.reply(order, failure=traceback.format_exc())


def main():
    """Reports that the guest is up, then executes orders."""
    os.environ.update(ENVIRONMENT)
    agent = Agent(os.open(find_port(), os.O_RDWR))
    agent.reply({"id": 0}, release=os.uname().release)
    agent.serve()


main()
