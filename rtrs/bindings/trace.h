/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions of trace.c. All strings are terminated and only read during the call;
 * any context.
 */

#ifndef RTRS_BINDINGS_TRACE_H
#define RTRS_BINDINGS_TRACE_H

#include <linux/types.h>

bool rtrs_trace_session_enabled(void);
void rtrs_trace_session(const char *side, const char *session, const char *state);
bool rtrs_trace_path_enabled(void);
void rtrs_trace_path(const char *side, const char *path, const char *state);
bool rtrs_trace_io_error_enabled(void);
void rtrs_trace_io_error(const char *side, const char *where, const char *op,
			 unsigned int id, unsigned int bytes, int error);

#endif /* RTRS_BINDINGS_TRACE_H */
