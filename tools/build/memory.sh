#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Warns when the memory may not suffice for guests:
#
#   memory.sh <MiB> <guests that take it>
#
# It only warns, as a guest takes the memory that it uses, which can be less.

. "$(dirname "$0")/lib.sh"

free=$(awk '/^(MemAvailable|SwapFree):/ { sum += $2 } END { print int(sum / 1024) }' /proc/meminfo)
[ "$free" -ge "$1" ] || say "note: $free MiB of memory are free, and $2 can take $1"
