# SPDX-License-Identifier: GPL-2.0-only
"""Kernel logs: finding reports of problems, and lines of a module."""

import re

from rnbdbench.guest import Guest

_COMPLAINTS = re.compile(
    "|".join(
        [
            r"\bWARNING\b",
            r"\bBUG\b",
            r"\bOops\b",
            r"Kernel panic",
            r"cut here",
            r"Call Trace:",
            r"general protection fault",
            r"KASAN|KFENCE|KCSAN|UBSAN|ODEBUG",
            r"refcount_t:",
            r"\bleak",
            r"unreferenced object",
            r"INFO: task .* blocked",
            r"INFO: possible",
            r"INFO: trying to register non-static key",
            r"(soft|hard) lockup",
            r"detected stalls?|self-detected stall",
            r"DEBUG_LOCKS_WARN",
            r"(recursive|circular) lock",
            r"inconsistent lock state",
            r"held lock freed|lock held when returning|bad unlock balance",
            r"suspicious RCU usage",
            r"sleeping function called",
            r"scheduling while atomic",
            r"list_(add|del) corruption",
            r"kernfs: can not remove",
            r"sysfs: cannot create duplicate",
            r"kobject.*(initialized|is not initialized|tried to init)",
            r"page allocation failure",
            r"unregister_netdevice: waiting",
            r"slab.*(still in use|Objects remaining)",
            r"rust_kernel: panicked|rust_panic",
        ]
    )
)

_HARMLESS = re.compile(r"kmemleak: (Kernel memory leak detector|Automatic memory scanning)")

_FAILED_VMALLOC = re.compile(r"^.*vmalloc error: .*\n(?:.*\n){1,6}?.*Call Trace:$", re.MULTILINE)

_BEFORE = 3
_AFTER = 40


def complaints(log: str) -> str:
    """Returns the parts of `log` around each report of a problem; empty if there is none."""
    lines = log.splitlines()
    wanted: set[int] = set()
    for number, line in enumerate(lines):
        if _COMPLAINTS.search(line) and not _HARMLESS.search(line):
            wanted.update(range(max(0, number - _BEFORE), min(len(lines), number + _AFTER)))
    excerpt: list[str] = []
    last = -1
    for number in sorted(wanted):
        if last >= 0 and number != last + 1:
            excerpt.append("[…]")
        excerpt.append(lines[number])
        last = number
    return "\n".join(excerpt[:200])


def without_failed_vmalloc(log: str) -> str:
    """Removes the reports of vmalloc from `log`, for a test that makes allocations fail."""
    return _FAILED_VMALLOC.sub("", log)


def last(guest: Guest, count: int = 1) -> str:
    """Returns the last lines, without those of the sanitizing kernel about freed objects."""
    return guest.output(f"dmesg | grep -v 'kobject: ' | tail -n {count}")


def said_by(log: str, module: str) -> list[str]:
    """Returns the lines of an RNBD module, such as `rnbd_client`, without time and name."""
    begin = re.compile(rf"(?:\[ *[\d.]+\] )?{module}: ")
    lines = ((begin.match(line), line) for line in log.splitlines())
    return [line[found.end() :] for found, line in lines if found]


def names(line: str, word: str) -> bool:
    """Returns whether a line has a whole word: `device_path` does not have `path`."""
    return bool(re.search(rf"(?<![\w/]){re.escape(word)}(?![\w/])", line))


def seconds(log: str, text: str) -> float:
    """Returns the time stamp of the only line with `text`, in seconds since boot."""
    stamps = re.findall(rf"^\[ *([\d.]+)\] .*{re.escape(text)}", log, re.MULTILINE)
    assert len(stamps) == 1, f"'{text}' is {len(stamps)} times in:\n{log}"
    return float(stamps[0])
