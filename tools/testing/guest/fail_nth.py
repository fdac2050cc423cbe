# SPDX-License-Identifier: GPL-2.0-only
"""Makes one allocation of memory after the other fail during an operation.

    fail_nth.py <orders>

The orders are JSON: lists of writes to files, of which each is a path, where `*` stands
for anything, and a text.  `prepare` must succeed, `do` is what allocations fail in, and
`undo` may find that there is nothing to undo; what of these fails is tried again for a
while.  `most` is how many allocations fail at most, one in each round: those are spread
evenly over all allocations.

Only what the writing task allocates itself fails, so it is much the same in each run.
Says in JSON what comes of the write when nothing fails, how many allocations there are, how
many were made to fail, and how often the write came to which error then.
"""

import collections
import errno
import glob
import json
import os
import sys
import time

NTH = "/proc/thread-self/fail-nth"
FAULTS = "/sys/kernel/debug"

BEYOND = 1 << 30
"""A number above that of the allocations of any operation."""

PATIENCE = 60.0
"""Seconds until an earlier operation must have ended."""


def put(path, text):
    """Writes to a file of the kernel."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def configure():
    """Allocations that may wait can fail as well, any number of times, without a report.

    Of memory that the slab allocator gives only what is asked for by its size: most of the
    rest belongs to kmemleak and the like, which do not report their own want of it well.
    """
    for kind in ("failslab", "fail_page_alloc"):
        for name, value in (("ignore-gfp-wait", "N"), ("times", "-1"), ("verbose", "0")):
            put(f"{FAULTS}/{kind}/{name}", value)
    put(f"{FAULTS}/fail_page_alloc/min-order", "0")
    for cache in glob.glob("/sys/kernel/slab/kmalloc-*/failslab"):
        put(cache, "1")
    put(f"{FAULTS}/failslab/cache-filter", "Y")


def name(error):
    """Returns the name of an error number."""
    return errno.errorcode[error] if error else "none"


def find(pattern):
    """Returns the file that a pattern matches; None if there is none."""
    found = glob.glob(pattern)
    return found[0] if found else None


def write(path, text, nth=0):
    """Writes; returns the error number and how many allocations were left to fail."""
    file = os.open(path, os.O_WRONLY)
    counter = os.open(NTH, os.O_RDWR)
    error = 0
    try:
        if nth:
            os.write(counter, str(nth).encode())
        os.write(file, text.encode())
    except OSError as failure:
        error = failure.errno
    finally:
        left = int(os.pread(counter, 16, 0))
        os.write(counter, b"0")
        os.close(counter)
        os.close(file)
    return error, left


def succeed(path, text, needed):
    """Writes until that succeeds; without a file there must be no need for it."""
    end = time.monotonic() + PATIENCE
    while True:
        file = find(path)
        if file is None and not needed:
            return
        error = errno.ENOENT if file is None else write(file, text)[0]
        if not error:
            return
        if time.monotonic() > end:
            raise SystemExit(f"{text!r} to {path}: {os.strerror(error)}")
        time.sleep(0.05)


def once(orders, nth):
    """Runs one round; returns the result of `write`."""
    for order in orders["prepare"]:
        succeed(*order, needed=True)
    path, text = orders["do"]
    came = write(find(path), text, nth)
    for order in orders["undo"]:
        succeed(*order, needed=False)
    return came


def main():
    """Counts the allocations, then makes them fail."""
    orders = json.loads(sys.argv[1])
    configure()
    undisturbed, left = once(orders, BEYOND)
    total = BEYOND - left
    tried = min(total, orders["most"])
    errors = collections.Counter()
    for index in range(tried):
        error, _ = once(orders, 1 + index * total // tried)
        errors[name(error)] += 1
    found = {"allocations": total, "failed": tried, "errors": errors}
    print(json.dumps({"undisturbed": name(undisturbed), **found}))


main()
