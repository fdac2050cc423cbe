# SPDX-License-Identifier: GPL-2.0-only
"""The instructions of an I/O by function, and the events that it causes."""

import json
import re
from collections import Counter
from collections import defaultdict
from dataclasses import dataclass
from dataclasses import field

from rnbdbench.guest import Guest
from speed import counting
from speed import jobs
from speed import kinds
from speed.report import table
from speed.symbols import USER
from speed.symbols import Symbols
from speed.symbols import readable

FEW, MANY = 500, 2500
"""Requests of the two runs whose difference is taken: it has no start and no end of fio."""

PARTS = {
    "rtrs, client and server": r"(rtrs|rtrs_\w+):",
    "rnbd_client": r"rnbd_client:",
    "rnbd_server": r"rnbd_server:",
    "nvme, nvmet": r"nvm\w+:",
    "soft-RoCE": r"rdma_rxe:",
    "RDMA core": r"(ib_|rdma_|iw_)\w+:",
    "RAM disk": r"brd:",
    "fio": f"{USER}:",
    "network": (
        r":(__)?(ip_|ip4|ip6|udp|dst_|skb|sk_|sock_|alloc_skb|kfree_skb|consume_skb|dev_|netif"
        r"|napi|neigh|fib_|eth_|nf_|net_|validate_xmit|process_backlog|rt_|inet|pskb|csum|icmp|siphash)|dummy:"
    ),
    "block layer, io_uring": r":(__)?(blk|bio|submit_bio|io_|sbitmap|bdev|blkdev|iov_|elv_|disk_|wbt|rq_)",
    "copying, checksums": r":(__)?(mem(cpy|move|set)|crc|copy_|rep_|clear_page|_copy|kernel_fpu)",
    "memory": r":(__)?(kmalloc|kfree|kmem_|slab|alloc_pages|free_|get_page|put_page|rmqueue|get_random|___slab|obj_|memcg|mod_|gup_)|dma_",
    "scheduling, interrupts, locks": (
        r":(_*)(raw_spin|schedule|sched|try_to_wake|ttwu|wake_up|dequeue_|enqueue_|pick_|update_|switch|"
        r"finish_task|asm_|irq|handle_softirq|tasklet|queue_work|process_one_work|worker_|kthread|"
        r"hrtimer|timer|mod_timer|tick|ktime|rcu|local_bh|raise_softirq|do_softirq|native_|select_|"
        r"set_next|put_prev|place_entity|entity|resched|preempt|mutex|lock_timer|insert_work|wq_|pwq_"
        r"|psi_|vruntime|avg_vruntime|wakeup_|kick_pool|cpuacct|record_times|move_linked_works)"
    ),
}
"""Parts that instructions count for, and which `<module>:<function>` belong to each."""

OTHER = "everything else"

OWN_PARTS = ("rtrs, client and server", "rnbd_client", "rnbd_server")
OWN_PART = "instructions in the modules"
FIRST = ("work requests sent", "completions", "wake-ups")
"""Events in the summary."""

EVENTS = {
    "work requests sent": r"rdma_rxe:do_complete",
    "calls to post sends": r"rdma_rxe:rxe_post_send",
    "calls to post receives": r"rdma_rxe:rxe_post_recv",
    "packets": r"rdma_rxe:rxe_xmit_packet",
    "completions": r"rdma_rxe:rxe_cq_post",
    "polls of completion queues": r"rdma_rxe:rxe_poll_cq",
    "notifications asked of them": r"rdma_rxe:rxe_req_notify_cq",
    "memory registrations": r"rdma_rxe:rxe_reg_fast_mr",
    # Not try_to_wake_up, which is also called for tasks that are awake.
    "wake-ups": r":enqueue_task",
    "switches of tasks": r":finish_task_switch\S*",
    "work items queued": r":__queue_work",
    "softirqs raised": r":(__)?raise_softirq_irqoff",
    "timers set": r":(__)?mod_timer|:timer_reduce|:hrtimer_start_range_ns",
    "allocations": (
        r":(__kmalloc(_node|_cache|_cache_node|_large|_node_track_caller)?_noprof"
        r"|kmem_cache_alloc(_node|_lru)?_noprof|mempool_alloc_noprof)"
    ),
    "spin locks taken": r":_raw_spin_(lock|trylock)\w*",
}
"""Events, and the functions that are called once for each."""


@dataclass
class Profile:
    """The costs of one I/O of a job."""

    parts: Counter[str] = field(default_factory=Counter)
    """Instructions by part."""
    functions: Counter[str] = field(default_factory=Counter)
    """Instructions by `<module>:<function>`."""
    calls: Counter[str] = field(default_factory=Counter)
    """Calls by `<module>:<function>`."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Instructions in the modules of RNBD by kind."""
    events: Counter[str] = field(default_factory=Counter)
    """Counts of events."""
    locked: Counter[str] = field(default_factory=Counter)
    """Locked instructions by part."""

    @property
    def total(self) -> float:
        """All instructions."""
        return sum(self.parts.values())

    @property
    def own(self) -> float:
        """Those in the modules of RNBD, ours or C's."""
        return sum(self.parts[part] for part in OWN_PARTS)


def part_of(function: str) -> str:
    """Returns the part that a `<module>:<function>` belongs to."""
    for part, pattern in PARTS.items():
        if re.match(pattern, function):
            return part
    return OTHER


def difference(later: counting.Counts, earlier: counting.Counts) -> counting.Counts:
    """Returns the difference of two readings."""
    return {block: times - earlier.get(block, 0) for block, times in later.items()}


def attribute(
    counts: counting.Counts, symbols: Symbols, requests: int, code: dict[str, kinds.Code]
) -> Profile:
    """Attributes the counts of `requests` requests to functions and parts, per request.

    `code` is that of the modules of RNBD, whose instructions are told apart by kind.
    """
    profile = Profile()
    locked: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    total: defaultdict[str, int] = defaultdict(int)
    for block, times in counts.items():
        name, module, start = symbols.find(block.address)
        function = f"{module}:{name}" if module != USER else f"{USER}:"
        total[function] += times * block.instructions
        locked[function] += times * block.locked
        if start == block.address:
            calls[function] += times
        if known := code.get(module, {}).get(name):
            found = kinds.count(known, block.address - start, block.instructions)
            for kind, instructions in found.items():
                profile.kinds[kind] += times * instructions / requests
    for function, instructions in total.items():
        part = part_of(function)
        profile.parts[part] += instructions / requests
        profile.locked[part] += locked[function] / requests
        module, name = function.split(":", 1)
        profile.functions[f"{module}:{readable(name)}"] += instructions / requests
        profile.calls[f"{module}:{readable(name)}"] += calls[function] / requests
    for event, pattern in EVENTS.items():
        matches = re.compile(pattern)
        profile.events[event] = sum(
            times / requests for function, times in calls.items() if matches.fullmatch(function)
        )
    return profile


def take(
    guest: Guest,
    counter: counting.Counter,
    node: str,
    job: jobs.Job,
    code: dict[str, kinds.Code],
) -> Profile:
    """Runs a job with few and with many requests; returns the profile of the difference."""
    symbols = Symbols(guest.output("cat /proc/kallsyms", timeout=120).splitlines())
    readings = []
    # The first run is for what is done once only, such as reading fio itself.
    for requests in (FEW, FEW, MANY):
        jobs.run(guest, node, job, requests)
        readings.append(counter.read(guest.patience))
    few = difference(readings[1], readings[0])
    many = difference(readings[2], readings[1])
    return attribute(difference(many, few), symbols, MANY - FEW, code)


OWN = r"(rtrs|rnbd)\w*:"
"""Functions of either set of RNBD drivers."""

MOST = 40
"""The number of functions that a report lists."""


def tables(job: jobs.Job, profiles: dict[str, Profile]) -> str:
    """Returns parts and events of one job, with a column for each contender."""
    each = profiles.values()
    parts = [
        [part, *(f"{profile.parts[part]:.0f}" for profile in each)] for part in [*PARTS, OTHER]
    ]
    parts.append(["all", *(f"{profile.total:.0f}" for profile in each)])
    events = [
        [event, *(f"{profile.events[event]:.2f}" for profile in each)] for event in EVENTS
    ]
    sorts = [
        [kind, *(f"{profile.kinds[kind]:.0f}" for profile in each)]
        for kind in [*kinds.KINDS, kinds.OTHER]
    ]
    locked = [f"{sum(profile.locked.values()):.0f}" for profile in each]
    events.append(["locked instructions", *locked])
    own = []
    for title, profile in profiles.items():
        found = [
            f"    {instructions:8.1f} {profile.calls[function]:6.2f}  {function}"
            for function, instructions in profile.functions.most_common()
            if re.match(OWN, function)
        ]
        if found:
            header = f"Functions of {title}: instructions and calls per I/O"
            own.append(f"{header}\n\n" + "\n".join(found[:MOST]))
    return "\n\n".join(
        [
            f"## {job.title}",
            table(["instructions per I/O in", *profiles], parts),
            table(["times per I/O", *profiles], events),
            table([OWN_PART, *profiles], sorts),
            *own,
        ]
    )


def summary(asked: list[jobs.Job], profiles: dict[str, dict[str, Profile]]) -> str:
    """Returns the summary: a line for each job, with the contenders side by side."""
    titles = list(dict.fromkeys(title for job in asked for title in profiles[job.key]))
    lines = []
    for job in asked:
        each = [profiles[job.key].get(title) for title in titles]
        cells = [[f"{found.own:.0f}" if found else "–" for found in each]]
        for event in FIRST:
            cells.append([f"{found.events[event]:.2f}" if found else "–" for found in each])
        lines.append([job.title, *(" / ".join(cell) for cell in cells)])
    return f"Per I/O: {' / '.join(titles)}\n\n" + table(["", OWN_PART, *FIRST], lines)


def markdown(title: str, asked: list[jobs.Job], profiles: dict[str, dict[str, Profile]]) -> str:
    """Returns the report: the summary, and a chapter for each job."""
    chapters = [tables(job, profiles[job.key]) for job in asked]
    return "\n\n".join([f"# {title}", summary(asked, profiles), *chapters]) + "\n"


def as_json(profiles: dict[str, dict[str, Profile]]) -> str:
    """Returns the report as JSON, with all functions."""
    return json.dumps(
        {job: {key: vars(found) for key, found in row.items()} for job, row in profiles.items()},
        indent=1,
    )
