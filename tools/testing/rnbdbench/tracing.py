# SPDX-License-Identifier: GPL-2.0-only
"""Where a guest's kernel is traced."""

TRACING = "/sys/kernel/tracing"

MOUNT = f"mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}"
"""The command that makes it be there."""
