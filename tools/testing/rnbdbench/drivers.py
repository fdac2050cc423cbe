# SPDX-License-Identifier: GPL-2.0-only
"""Loading and unloading the RNBD modules of a guest.

Where unloading is slow the modules stay for the tests of a file that follow, as long
as these want the same parameters.  The sanitizing kernel puts off the release of each
kernel object by up to four seconds, which makes half a minute for the modules.
"""

from rnbdbench.guest import Guest

ENDS = ["rnbd_client", "rnbd_server"]
"""What unloads first, both at once."""

TRANSPORT = {"rust": ["rtrs"], "c": ["rtrs_client", "rtrs_server", "rtrs_core"]}
"""The other modules of a driver set, in the order of unloading."""

SLOW = "sanitize"
"""The kernel on which unloading is slow."""

_UNLOAD = """
jobs=()
for module in {ends}; do
	[ ! -e /sys/module/$module/refcnt ] || {{ rmmod $module & jobs+=($!); }}
done
for job in ${{jobs[@]}}; do
	wait $job || exit 1
done
for module in {transport}; do
	[ ! -e /sys/module/$module/refcnt ] || rmmod $module || exit 1
done
"""

_REST = """
for round in {{1..50}}; do
	set -- /sys/class/rtrs-client/*/ /sys/class/rtrs-server/*/
	[ -e $1 ] || [ -e $2 ] || break
	sleep 0.2
done
[ ! -e $1 ] && [ ! -e $2 ] || exit 0
[ ! -e {rules} ] || echo default >{rules}
for module in {ends} {transport}; do
	[ ! -e /sys/module/$module/refcnt ] || echo $module
done
"""
"""Waits for the end of the sessions, and prints what is loaded if they ended."""


def load(guest: Guest, module: str, parameters: str = "") -> None:
    """Loads a module, or takes over the one that an earlier test left."""
    if module in guest.kept and guest.loaded[module] == parameters:
        guest.kept.remove(module)
        return
    wanted = {}
    if guest.kept:
        # Not all fits: what this test has taken over already is loaded anew, too.
        wanted = {name: guest.loaded[name] for name in guest.loaded if name not in guest.kept}
        unload(guest)
    for name, words in {**wanted, module: parameters}.items():
        guest.run(f"modprobe {name} {words}", timeout=120)
        guest.loaded[name] = words


def unload(guest: Guest) -> None:
    """Unloads what is loaded of RNBD; the modules must go within two minutes."""
    guest.loaded.clear()
    guest.kept.clear()
    guest.run(_UNLOAD.format(**_modules(guest)), timeout=120)


def rest(guest: Guest, rules: str) -> None:
    """Ends a test that others follow: the modules stay, where unloading them is slow.

    They go nevertheless when they still have sessions, or when it is not known with
    which parameters they were loaded.  Export `rules` are taken back.
    """
    if guest.kernel.name != SLOW:
        unload(guest)
        return
    command = _REST.format(rules=rules, **_modules(guest))
    found = guest.output(command, timeout=120).split()
    # One that was loaded for another has its default parameters.
    if "rtrs" in found:
        guest.loaded.setdefault("rtrs", "")
    if not found or not set(found) <= set(guest.loaded):
        unload(guest)
        return
    guest.loaded = {name: guest.loaded[name] for name in found}
    guest.kept = set(found)


def _modules(guest: Guest) -> dict[str, str]:
    transport = TRANSPORT[guest.specification.drivers]
    return {"ends": " ".join(ENDS), "transport": " ".join(transport)}
