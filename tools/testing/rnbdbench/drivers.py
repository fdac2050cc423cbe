# SPDX-License-Identifier: GPL-2.0-only
"""Loading and unloading the RNBD modules of a guest.

Where unloading is slow, the modules stay loaded for the following tests of the same file,
as long as these need the same parameters.  The sanitizing kernel delays the release of
each kernel object by up to four seconds, so unloading the modules takes half a minute.
"""

from rnbdbench.guest import Guest

ENDS = ["rnbd_client", "rnbd_server"]
"""The modules that are unloaded first, both at the same time."""

TRANSPORT = {"rust": ["rtrs"], "c": ["rtrs_client", "rtrs_server", "rtrs_core"]}
"""The other modules of each set of drivers, in the order of unloading."""

SLOW = "sanitize"
"""The kernel on which unloading is slow."""

ONE_BY_ONE = """
for module in {modules}; do
	[ ! -e /sys/module/$module/refcnt ] || rmmod $module || exit 1
done
"""
"""Unloads modules, each of which may depend on the ones after it."""

_AT_ONCE = """
jobs=()
for module in {ends}; do
	[ ! -e /sys/module/$module/refcnt ] || {{ rmmod $module & jobs+=($!); }}
done
for job in ${{jobs[@]}}; do
	wait $job || exit 1
done
"""

_REST = """
sessions() {{
	set -- /sys/class/rtrs-client/*/ /sys/class/rtrs-server/*/
	[ -e $1 ] || [ -e $2 ]
}}
rest=1
for module in {ends} {transport}; do
	[[ ! -e /sys/module/$module/refcnt || " {known} " == *" $module "* ]] || rest=
done
for round in {{1..50}}; do
	[ $rest ] && sessions || break
	sleep 0.2
done
if [ $rest ] && ! sessions; then
	[ ! -e {rules} ] || echo default >{rules}
	for module in {ends} {transport}; do
		[ ! -e /sys/module/$module/refcnt ] || echo $module
	done
else
	{unload}
fi
"""
"""Prints the modules that stay loaded, or unloads them all."""


def load(guest: Guest, module: str, parameters: str = "") -> None:
    """Loads a module, or uses the one that an earlier test left."""
    if module in guest.kept and guest.loaded[module] == parameters:
        guest.kept.remove(module)
        return
    wanted = {}
    if guest.kept:
        # The parameters differ: load the modules that this test uses already once more, too.
        wanted = {name: guest.loaded[name] for name in guest.loaded if name not in guest.kept}
        unload(guest)
    wanted[module] = parameters
    # The transport first, or another module would load it, without parameters.
    for name in sorted(wanted, key=ENDS.__contains__):
        guest.run(f"modprobe {name} {wanted[name]}", timeout=120)
        guest.loaded[name] = wanted[name]


def unload(guest: Guest) -> None:
    """Unloads the RNBD modules, which must take at most two minutes."""
    _forget(guest)
    guest.run(unloading(guest), timeout=120)


def unloading(guest: Guest) -> str:
    """Returns the command that unloads the RNBD modules."""
    names = _modules(guest)
    return _AT_ONCE.format(**names) + ONE_BY_ONE.format(modules=names["transport"])


def resting(guest: Guest, rules: str) -> str:
    """Returns the command that ends a test that others follow: modules may stay loaded.

    They are unloaded if they still have sessions, or if it is not known with which
    parameters they were loaded.  Export `rules` are reset.
    """
    if guest.kernel.name != SLOW:
        return unloading(guest)
    # Another module may have loaded the transport, with its default parameters.
    known = " ".join({*guest.loaded, "rtrs"})
    unload = unloading(guest)
    return _REST.format(known=known, rules=rules, unload=unload, **_modules(guest))


def rested(guest: Guest, said: str) -> None:
    """Notes which modules stay loaded, from the output of `resting` or `unloading`."""
    modules = [*ENDS, *TRANSPORT[guest.specification.drivers]]
    loaded = {name: guest.loaded.get(name, "") for name in said.split() if name in modules}
    _forget(guest)
    guest.loaded.update(loaded)
    guest.kept.update(loaded)


def _forget(guest: Guest) -> None:
    guest.loaded.clear()
    guest.kept.clear()


def _modules(guest: Guest) -> dict[str, str]:
    transport = TRANSPORT[guest.specification.drivers]
    return {"ends": " ".join(ENDS), "transport": " ".join(transport)}
