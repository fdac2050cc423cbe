# SPDX-License-Identifier: GPL-2.0-only
"""A server that breaks the protocol: the client's reaction; it stays usable.

A program in user space (tools/testing/peer/rogue_server.py) goes through the cases, one
for each disk that is mapped.
"""

from collections.abc import Mapping

import pytest

from rnbdbench import fio
from rnbdbench import network
from rnbdbench import peer
from rnbdbench.guest import Guest
from rnbdbench.lab import Pair
from rnbdbench.rnbd import Device

READ = "dd if={} of=/dev/null bs=512 skip=800 count=8 iflag=direct status=none"
"""Reads sectors that the kernel does not read when it looks for partitions."""

ONE = "dd if={} of=/dev/null bs=512 skip={} count=1 iflag=direct status=none"
WRITE = "dd if=/dev/zero of={} bs=512 seek=800 count=1 oflag=direct status=none"


def _read_and_write(node: str) -> str:
    """Returns the command that reads one of these sectors, and then writes it."""
    return f"{ONE.format(node, 800)}; {WRITE.format(node)}"


def _read_two_and_write(node: str) -> str:
    """The same with two reads at a time."""
    return f"{ONE.format(node, 800)} & {ONE.format(node, 801)}; wait; {WRITE.format(node)}"

CONNECTIONS = {
    "magic": ("EPROTO", "the server's response was refused: bad magic 0x1234"),
    "version": ("EPROTO", "the server's response was refused: unsupported version 3.0"),
    "depth-of-0": ("EPROTO", "the server's response was refused: queue depth 0 out of range"),
    "depth-beyond": ("EPROTO", "16 bits of message id and 17 bits of offset exceed"),
    "no-room-for-header": ("EPROTO", "header size 100 out of range"),
    "no-room-for-data": ("EPROTO", "maximum I/O size 100 out of range"),
    "too-much-room": ("EPROTO", "maximum I/O size 4294967295 out of range"),
    "inline-immediates": ("ENOTSUP", "the server needs immediates"),
    "refused": ("EACCES", ""),
    "refused-without-reason": ("ECONNREFUSED", ""),
    "refused-with-no-error": ("EINVAL", ""),
    "refused-by-a-number-of-the-kernel": ("EINVAL", ""),
    "second-refused": ("ENOMEM", ""),
    "second-magic": ("EPROTO", "the server's response was refused: bad magic 0x1234"),
}
"""The error of map_device, and words of the client's log, by case."""

CHUNKS = {
    "info-of-other-type": ("ECONNRESET", "INFO_RSP was refused: unexpected message type 9"),
    "info-short": ("ECONNRESET", "INFO_RSP was refused: message of 4 bytes"),
    "info-long": ("ECONNRESET", "the connection broke while the session was set up"),
    "info-of-nothing": ("ECONNRESET", "INFO_RSP was refused: unexpected number of descriptors 0"),
    "info-of-too-many": ("ECONNRESET", "INFO_RSP was refused: unexpected number of descriptors 5"),
    "info-of-too-few": ("ECONNRESET", "INFO_RSP was refused: unexpected number of descriptors 3"),
    "chunk-of-nothing": ("ECONNRESET", "INFO_RSP was refused: descriptor length 0"),
    "half-a-chunk": ("ECONNRESET", "INFO_RSP was refused: descriptor length 65536"),
    "chunks-too-long": ("ECONNRESET", "INFO_RSP was refused: descriptor length"),
    "chunk-around": ("ECONNRESET", "INFO_RSP was refused: descriptor wraps around"),
}
"""The same for cases of INFO_RSP, by which the server sends the addresses of its memory."""

RESPONSES = {
    "response-of-no-chunk": ("ECONNABORTED", "path lost: response with a wrong id"),
    "response-of-other-chunk": ("ECONNABORTED", "path lost: response to a request that is not in flight"),
    "immediate-of-no-type": ("ECONNABORTED", "path lost: unknown immediate"),
    "request-to-client": ("ECONNABORTED", "path lost: immediate that does not belong here"),
    "heartbeat-on-io": ("ECONNABORTED", "path lost: immediate that does not belong here"),
    "response-elsewhere": ("ECONNABORTED", "path lost: response over another connection"),
    "message": ("ECONNABORTED", "path lost: message without an immediate"),
    "message-too-long": ("ECONNABORTED", "path lost: the connection broke"),
    "key-without-need": ("ECONNABORTED", "path lost: malformed response"),
    "response-of-any-error": ("511", ""),
    "handshake-of-nothing": ("EPROTO", "unexpected message type 0"),
    "handshake-of-other-type": ("EPROTO", "unexpected message type 77"),
    "handshake-of-no-version": ("EPROTO", "unsupported version 0.0"),
    "open-of-other-type": ("EPROTO", "unexpected message type 77"),
    "no-block-size": ("EPROTO", "impossible device geometry"),
    "odd-block-size": ("EPROTO", "impossible device geometry"),
    "too-many-sectors": ("EPROTO", "impossible device geometry"),
}
"""The same for cases of later messages."""

EAGER = {
    "eager": (None, ""),
    "eager-without-short-responses": (None, ""),
    "eager-response-short": ("ECONNABORTED", "path lost: response with other data than the request"),
    "eager-response-long": ("ECONNABORTED", "path lost: response with other data than the request"),
    "eager-response-too-long": ("ECONNABORTED", "path lost: the connection broke"),
    "eager-response-of-nothing": ("ECONNABORTED", "path lost: response with other data than the request"),
    "eager-data-with-error": ("ECONNABORTED", "path lost: response with other data than the request"),
}
"""The same where requests are messages, and data come with responses."""

DISKS = {
    "huge-block-size": (None, ""),
    "no-sectors": (None, ""),
    "all-ones": ("EPROTO", "impossible device geometry"),
    "io-fails": (None, ""),
    "io-fails-by-any-number": (None, ""),
    "io-response-twice": (None, "path lost: response to a request that is not in flight"),
    "well-behaved": (None, ""),
}
"""The same for cases in which a disk may be mapped."""

CLAIMS = {
    "claim-then-write": (None, "path lost: the connection broke"),
    "invalidation-of-another": (None, "path lost: the connection broke"),
}
"""The same for claims that a key was invalidated, which is good for a later write otherwise."""

USES = {"claim-then-write": _read_and_write, "invalidation-of-another": _read_two_and_write}
"""How a disk is used that was mapped, if it is not only read, by case."""

NO_LARGE_BLOCKS = ("EINVAL", "Invalid logical block size (32768)")
"""The outcome of `huge-block-size` on the sanitizing kernel, which has no huge pages."""


def _use(guest: Guest, disk: Device, command: str, words: str) -> None:
    """Uses a disk until that ends, or the kernel has said `words` if there are some."""
    mark = guest.console.mark()
    use = guest.begin(command)
    # If the path is lost before the server has lost access to the buffer, the read waits.
    guest.wait_until(
        lambda: words in guest.console.since(mark) and (words or not use.running),
        f"'{command}' to end, or '{words}'",
    )
    assert disk.unmap("force") is None
    use.wait()


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(CONNECTIONS, id="connections"),
        pytest.param(CHUNKS, id="chunks"),
        pytest.param(RESPONSES, id="responses"),
        pytest.param(EAGER, id="eager"),
        pytest.param(DISKS, id="disks"),
        pytest.param(CLAIMS, id="claims"),
    ],
)
def test_a_rogue_server_harms_no_other_session(
    loopback: Pair, device: Device, cases: Mapping[str, tuple[str | None, str]]
) -> None:
    """Each of its steps ends as documented, nothing is left, and other sessions go on."""
    guest = loopback.initiator.guest
    load = fio.begin_verify(guest, device.node, depth=4)
    expected, found = dict(cases), {}
    if "huge-block-size" in cases and guest.specification.kernel == "sanitize":
        expected["huge-block-size"] = NO_LARGE_BLOCKS

    with peer.rogue_server(guest, cases):
        for name, (_, words) in expected.items():
            mark = guest.console.mark()
            came = loopback.initiator.request(
                f"sessname={name} path={network.TARGET.path()} device_path={name}"
                f" dest_port={peer.ROGUE_PORT}"
            )
            if came is None:
                disk = loopback.initiator.find(name, name)
                _use(guest, disk, USES.get(name, READ.format)(disk.node), words)
            found[name] = came, guest.printed_since(mark)

    load.end()
    wrong = peer.differences(expected, found)
    assert not wrong, wrong
    assert loopback.initiator.devices() == [device]
    assert loopback.initiator.transports() == ["bench"]
    assert device.unmap() is None
