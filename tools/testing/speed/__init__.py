# SPDX-License-Identifier: GPL-2.0-only
"""The cost of an I/O in instructions: our drivers, the C drivers, NVMe over RDMA.

Documentation/bench.md has the method.  `tools/testing/bench` is the program.
"""
