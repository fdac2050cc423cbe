# SPDX-License-Identifier: GPL-2.0-only
"""A bench of QEMU guests for testing RNBD.

A test names the guests it wants by asking for a fixture (``loopback`` or
``pair``), runs commands in them and looks at what comes back.  The bench boots
the guests, joins them by a network with soft-RoCE, keeps their logs, and fails
the test when a kernel complained.
"""
