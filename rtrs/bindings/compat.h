/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that the modules are built for: the interface
 * of the newest one, for those that lack it. An entry names the version that has
 * it, and goes when no older kernel is supported; see Documentation/kernels.md.
 */

#ifndef _RNBD_COMPAT_H
#define _RNBD_COMPAT_H

#include <linux/fs_struct.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)

/*
 * 7.3 gave kernel threads a root directory of their own, which is empty, and a
 * way to look up paths as init does. Before, they have the one of init.
 */
static inline struct fs_struct *__override_init_fs(void)
{
	return NULL;
}

static inline void __revert_init_fs(struct fs_struct *old_fs)
{
}

#endif

#endif /* _RNBD_COMPAT_H */
