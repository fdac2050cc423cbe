# SPDX-License-Identifier: GPL-2.0-only
"""The kinds of instructions that the modules of RNBD execute, from their disassembly.

They show what a function spends its instructions on: many copies to and from the stack, for
example, are values that move, or more of them than there are registers.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

KINDS = {
    "calls: call, return, frame": (
        r"call|ret|push|pop|endbr|leave|jmp\s.*return_thunk|(add|sub)\s+\$\S+,%rsp$"
    ),
    "locked": r"lock|xchg\s+.*\(",
    "checks: compare, branch": r"cmp|test|bt\s|j(?!mp)|set|cmov",
    "copies to and from the stack": r"mov\S*\s.*\(%rsp|rep",
    "other loads and stores": r"mov\S*\s.*\(",
}
"""Kinds, and the instructions that belong to the first of them whose pattern they match."""

OTHER = "registers, arithmetic, jumps"

Code = dict[str, dict[int, str]]
"""The instructions of each function, by their offset."""

_FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(.*)$")
_RELOCATION = re.compile(r"^\s*[0-9a-f]+:\sR_\S+\s+(\S+)")


def parse(lines: Iterable[str]) -> Code:
    """Parses the output of `objdump -dr --no-show-raw-insn`."""
    code: Code = {}
    function: dict[int, str] = {}
    start = last = 0
    for line in lines:
        if found := _FUNCTION.match(line):
            start, function = int(found[1], 16), code.setdefault(found[2], {})
        elif found := _RELOCATION.match(line):
            # The symbol that is called, for example.
            function[last] += f" {found[1]}"
        elif found := _INSTRUCTION.match(line):
            last = int(found[1], 16) - start
            function[last] = found[2].strip()
    return code


def disassemble(module: Path) -> Code:
    """Disassembles a module file."""
    command = ["objdump", "-dr", "--no-show-raw-insn", module]
    return parse(subprocess.check_output(command, text=True).splitlines())


def kind_of(instruction: str) -> str:
    """Returns the kind of an instruction.

    >>> kind_of("mov    %rax,0x8(%rsp)")
    'copies to and from the stack'
    """
    for kind, pattern in KINDS.items():
        if re.match(pattern, instruction):
            return kind
    return OTHER


def count(function: dict[int, str], offset: int, instructions: int) -> Counter[str]:
    """Counts the kinds of so many instructions of a function from an offset on."""
    offsets = [each for each in sorted(function) if each >= offset][:instructions]
    return Counter(kind_of(function[each]) for each in offsets)
