# SPDX-License-Identifier: GPL-2.0-only
"""The tracing file system of a guest."""

TRACING = "/sys/kernel/tracing"

MOUNT = f"mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}"
"""The command that mounts it, unless it is mounted."""
