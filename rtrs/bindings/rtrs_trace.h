/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints of the transport, described in Documentation/tracing.md.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rtrs

#if !defined(_RTRS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _RTRS_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(rtrs_session,
	TP_PROTO(const char *side, const char *session, const char *state),
	TP_ARGS(side, session, state),
	TP_STRUCT__entry(
		__string(side, side)
		__string(session, session)
		__string(state, state)
	),
	TP_fast_assign(
		__assign_str(side);
		__assign_str(session);
		__assign_str(state);
	),
	TP_printk("%s session=%s state=%s", __get_str(side),
		  __get_str(session), __get_str(state))
);

TRACE_EVENT(rtrs_path,
	TP_PROTO(const char *side, const char *path, const char *state),
	TP_ARGS(side, path, state),
	TP_STRUCT__entry(
		__string(side, side)
		__string(path, path)
		__string(state, state)
	),
	TP_fast_assign(
		__assign_str(side);
		__assign_str(path);
		__assign_str(state);
	),
	TP_printk("%s path=%s state=%s", __get_str(side), __get_str(path),
		  __get_str(state))
);

TRACE_EVENT(rtrs_io_error,
	TP_PROTO(const char *side, const char *where, const char *op,
		 unsigned int id, unsigned int bytes, int error),
	TP_ARGS(side, where, op, id, bytes, error),
	TP_STRUCT__entry(
		__string(side, side)
		__string(where, where)
		__string(op, op)
		__field(unsigned int, id)
		__field(unsigned int, bytes)
		__field(int, error)
	),
	TP_fast_assign(
		__assign_str(side);
		__assign_str(where);
		__assign_str(op);
		__entry->id = id;
		__entry->bytes = bytes;
		__entry->error = error;
	),
	TP_printk("%s where=%s op=%s id=%u bytes=%u error=%d", __get_str(side),
		  __get_str(where), __get_str(op), __entry->id, __entry->bytes,
		  __entry->error)
);

#endif /* _RTRS_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rtrs_trace
#include <trace/define_trace.h>
