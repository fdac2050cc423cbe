// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tracepoints themselves, and what Rust calls to fire them: the macros that
 * define them exist in C only.
 */

#include "trace.h"

#define CREATE_TRACE_POINTS
#include "rtrs_trace.h"

bool rtrs_trace_session_enabled(void)
{
	return trace_rtrs_session_enabled();
}

void rtrs_trace_session(const char *side, const char *session, const char *state)
{
	trace_rtrs_session(side, session, state);
}

bool rtrs_trace_path_enabled(void)
{
	return trace_rtrs_path_enabled();
}

void rtrs_trace_path(const char *side, const char *path, const char *state)
{
	trace_rtrs_path(side, path, state);
}

bool rtrs_trace_io_error_enabled(void)
{
	return trace_rtrs_io_error_enabled();
}

void rtrs_trace_io_error(const char *side, const char *where, const char *op,
			 unsigned int id, unsigned int bytes, int error)
{
	trace_rtrs_io_error(side, where, op, id, bytes, error);
}
