# SPDX-License-Identifier: GPL-2.0-only
"""Marks with a reason."""

import pytest

REMOVES_DISKS = pytest.mark.kernels("stock")
"""For tests that remove a disk of another driver, such as an array or a SCSI disk.

The block layer frees a disk before the release of its `queue` object, which
`DEBUG_KOBJECT_RELEASE` delays (`disk_release()` in block/genhd.c of 7.3), so on the
sanitizing kernel each of them causes a report that is not about RNBD.  RNBD disks wait for
the object.
"""
