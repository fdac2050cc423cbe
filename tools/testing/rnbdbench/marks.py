# SPDX-License-Identifier: GPL-2.0-only
"""Marks that stand for a reason."""

import pytest

REMOVES_DISKS = pytest.mark.kernels("stock")
"""For tests in which a disk goes that is not ours, as arrays and SCSI disks do at the end.

The block layer frees a disk while the release of its `queue` object is still to come
where `DEBUG_KOBJECT_RELEASE` puts that off (`disk_release()` in block/genhd.c of 7.3),
so on the sanitizing kernel each of them draws a report that is not about us.  Our own
disks wait for the object.
"""
