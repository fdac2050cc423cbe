# SPDX-License-Identifier: GPL-2.0-only
"""Direct I/O from and to memory with a chosen layout."""

from rnbdbench.guest import Guest

_SCRIPT = """
import mmap, os, sys
node, count, size, step, skew, huge = sys.argv[1], *map(int, sys.argv[2:])
length = (count * step + skew + (1 << 21)) >> 21 << 21
def memory(fill):
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (0x40000 if huge else 0)
    area = mmap.mmap(-1, length, flags=flags)
    area.write(os.urandom(length) if fill else bytes(length))
    view = memoryview(area)
    return [view[at:at + size] for at in range(skew, skew + count * step, step)]
def whole(done):
    if done != count * size:
        sys.exit(f"{done} bytes instead of {count * size}")
ours, theirs = memory(True), memory(False)
file = os.open(node, os.O_RDWR | os.O_DIRECT)
whole(os.pwritev(file, ours, 0))
whole(os.preadv(file, theirs, 0))
if ours != theirs:
    sys.exit("read what was not written")
"""


def write_and_read(
    guest: Guest,
    node: str,
    count: int,
    size: int,
    step: int = 0,
    skew: int = 0,
    huge: bool = False,
) -> None:
    """Writes pieces of memory to the start of a device by one call, and reads them back.

    There are `count` pieces of `size` bytes; each starts `step` bytes after the one before
    (by default without a gap), the first one `skew` bytes after the start of a page.  `huge`
    uses pages of 2 MiB, which makes the pieces contiguous in physical memory, too.
    """
    pages = "echo 8 > /proc/sys/vm/nr_hugepages; " if huge else ""
    guest.run(
        f"{pages}python3 - {node} {count} {size} {step or size} {skew} {int(huge)}"
        f" <<'EOF'\n{_SCRIPT}\nEOF",
        timeout=120,
    )
    if huge:
        guest.run("echo 0 > /proc/sys/vm/nr_hugepages")
