# SPDX-License-Identifier: GPL-2.0-only
"""A bench of QEMU guests for testing RNBD.

A test asks for guests by a fixture (``loopback``, ``pair`` or ``two_links``), runs
commands in them and checks the results.  The bench boots the guests, connects them by
a network with soft-RoCE, keeps their logs, and fails the test if a kernel reported a
problem.
"""
