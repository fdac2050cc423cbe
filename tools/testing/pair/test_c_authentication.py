# SPDX-License-Identifier: GPL-2.0-only
"""Keys, and the C drivers, which know none."""

import pytest

from rnbdbench import keys
from rnbdbench import network
from rnbdbench.lab import Pair


@pytest.mark.kernels("stock")
@pytest.mark.drivers("c-rust")
def test_a_rule_with_a_key_refuses_the_c_client(pair: Pair) -> None:
    """The device and the name that need the key; others are as before."""
    pair.target.ram_disk(16, count=2)
    pair.load()
    keys.add(pair.target.guest, web=keys.WEB)
    rules = ("clear", "allow session=web key=web", "allow device=/dev/ram1")
    assert pair.target.write_rules(*rules) is None

    def request(session: str, disk: str) -> str | None:
        line = f"sessname={session} path={network.TARGET.path()} device_path=/dev/{disk}"
        return pair.initiator.request(line)

    assert request("mine", "ram0") == "ENOENT"
    assert request("web", "ram1") == "ECONNRESET"
    assert request("mine", "ram1") is None
    assert pair.target.transport("mine").read("key") == "(none)"
    assert pair.initiator.find("/dev/ram1", "mine").unmap() is None


@pytest.mark.kernels("stock")
@pytest.mark.drivers("rust-c")
def test_a_client_with_a_key_refuses_the_c_server(pair: Pair) -> None:
    """As it would a server from which someone on the way has taken the authentication."""
    disk = pair.target.ram_disk(16)
    pair.load()
    guest = pair.initiator.guest
    keys.add(guest, web=keys.WEB)
    line = f"sessname=bench path={network.TARGET.path()} device_path={disk}"
    mark = guest.console.mark()
    assert pair.initiator.request(f"{line} key=web") == "ENOTSUP"
    assert "the server does not know authentication" in guest.printed_since(mark)
    assert pair.initiator.transports() == []
    assert pair.initiator.request(line) is None
    assert pair.initiator.find(disk).unmap() is None
