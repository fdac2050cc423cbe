# SPDX-License-Identifier: GPL-2.0-only
"""What an I/O costs, in instructions: ours, the C drivers and NVMe over RDMA.

Documentation/bench.md has the method.  `tools/testing/bench` is the program.
"""
