/* SPDX-License-Identifier: GPL-2.0-only */
/* For kprobes that return from a function in place of executing it. */

#ifndef SKIP_FUNCTION_H
#define SKIP_FUNCTION_H

#include <linux/kprobes.h>
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <linux/ptrace.h>

void skip_function_return(void);
asm(".text\n"
    ".type skip_function_return, @function\n"
    ".globl skip_function_return\n"
    ASM_FUNC_ALIGN
    "skip_function_return:\n"
    ANNOTATE_NOENDBR "\n"
    ASM_RET
    ".size skip_function_return, .-skip_function_return\n");

/* Has the probed function return a value at once. The result is that of the handler. */
static inline int skip_function(struct pt_regs *regs, int value)
{
	regs_set_return_value(regs, value);
	instruction_pointer_set(regs, (unsigned long)skip_function_return);
	return 1;
}

#endif
