// SPDX-License-Identifier: GPL-2.0-only
/*
 * RDMA connections for a program that is not in C: what of rdma-core cannot be called from
 * elsewhere, as it is inline or has unions in its arguments. verbs.py calls this.
 *
 * Functions that can fail return a negative error number.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#define PRIVATE_DATA 56
#define SEND_DEPTH 64
#define RECV_DEPTH 256
#define BACKLOG 8
/* As the drivers: a lost packet is sent again for some seconds. */
#define RETRIES 2
/* For ever: the other side may not have had the time to post a receive. */
#define RNR_RETRIES 7

/* A work request: what is at `address` goes to `remote`, if it is a write. */
struct peer_work {
	uint64_t id;
	uint64_t address;
	uint64_t remote;
	uint32_t length;
	uint32_t lkey;
	uint32_t rkey;
	uint32_t opcode;
	/* In host order. */
	uint32_t immediate;
};

struct peer_completion {
	uint64_t id;
	uint32_t status;
	uint32_t length;
	/* In host order, if there is one. */
	uint32_t immediate;
	uint32_t has_immediate;
	/* Whether something was written to other memory, and not sent. */
	uint32_t written;
};

/* What the other side said with an event. */
static void read_data(const struct rdma_cm_event *event, uint8_t data[PRIVATE_DATA])
{
	const struct rdma_conn_param *param;

	memset(data, 0, PRIVATE_DATA);
	if (!event)
		return;
	param = &event->param.conn;
	if (param->private_data && param->private_data_len >= PRIVATE_DATA)
		memcpy(data, param->private_data, PRIVATE_DATA);
}

static void describe(struct rdma_conn_param *param, const uint8_t *data)
{
	memset(param, 0, sizeof(*param));
	param->private_data = data;
	param->private_data_len = PRIVATE_DATA;
	param->retry_count = RETRIES;
	param->rnr_retry_count = RNR_RETRIES;
}

static struct ibv_qp_init_attr queues(void)
{
	struct ibv_qp_init_attr attr = {
		.cap = {
			.max_send_wr = SEND_DEPTH,
			.max_recv_wr = RECV_DEPTH,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
	};

	return attr;
}

/* An id for `port` of `host`, with a queue pair if `attr` says of what size. */
static int create(const char *host, const char *port, int flags, struct ibv_qp_init_attr *attr,
		  struct rdma_cm_id **id)
{
	struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP, .ai_flags = flags }, *info;
	int error;

	if (rdma_getaddrinfo(host, port, &hints, &info))
		return -errno;
	error = rdma_create_ep(id, info, NULL, attr) ? -errno : 0;
	rdma_freeaddrinfo(info);
	return error;
}

/* The next event of a connection or listener, to be acknowledged. 0: there is none. */
static int next_event(struct rdma_cm_id *id, struct rdma_cm_event **event)
{
	struct pollfd poll_for = { .fd = id->channel->fd, .events = POLLIN };

	if (poll(&poll_for, 1, 0) != 1)
		return 0;
	return rdma_get_cm_event(id->channel, event) ? -errno : 1;
}

static struct ibv_sge memory_of(const struct peer_work *work)
{
	return (struct ibv_sge){
		.addr = work->address,
		.length = work->length,
		.lkey = work->lkey,
	};
}

/*
 * Connects, with `data` to tell what for, and returns what the other side says in `response`.
 * -ECONNREFUSED: it says no.
 */
int peer_connect(const char *host, const char *port, const uint8_t data[PRIVATE_DATA],
		 uint8_t response[PRIVATE_DATA], struct rdma_cm_id **connection)
{
	struct ibv_qp_init_attr attr = queues();
	struct rdma_conn_param param;
	struct rdma_cm_id *id;
	int error = create(host, port, 0, &attr, &id);

	if (error)
		return error;

	describe(&param, data);
	error = rdma_connect(id, &param) ? -errno : 0;
	read_data(id->event, response);
	if (error) {
		rdma_destroy_ep(id);
		return error;
	}
	*connection = id;
	return 0;
}

/* Waits at `port` of `host` for others to connect. */
int peer_listen(const char *host, const char *port, struct rdma_cm_id **listener)
{
	struct rdma_cm_id *id;
	int error = create(host, port, RAI_PASSIVE, NULL, &id);

	if (error)
		return error;
	if (rdma_listen(id, BACKLOG)) {
		error = -errno;
		rdma_destroy_ep(id);
		return error;
	}
	*listener = id;
	return 0;
}

static void destroy(struct rdma_cm_id *id)
{
	struct rdma_event_channel *events = id->context;

	rdma_destroy_ep(id);
	if (events)
		rdma_destroy_event_channel(events);
}

/* Gives one that was taken events of its own, and a queue pair. 0: it is gone already. */
static int take(struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr attr = queues();
	int error;

	id->context = rdma_create_event_channel();
	if (!id->context || rdma_migrate_id(id, id->context) || rdma_create_qp(id, NULL, &attr)) {
		error = errno == EINVAL ? 0 : -errno;
		destroy(id);
		return error;
	}
	return 1;
}

/* Takes the next one that wants to connect, and what it says. 0: there is none. */
int peer_take(struct rdma_cm_id *listener, uint8_t data[PRIVATE_DATA],
	      struct rdma_cm_id **connection)
{
	struct rdma_cm_event *event;
	int wanted, found = next_event(listener, &event);

	if (found != 1)
		return found;
	/* Else somebody has changed their mind. */
	wanted = event->event == RDMA_CM_EVENT_CONNECT_REQUEST;
	if (wanted) {
		*connection = event->id;
		read_data(event, data);
	}
	rdma_ack_cm_event(event);
	return wanted ? take(*connection) : 0;
}

int peer_accept(struct rdma_cm_id *id, const uint8_t response[PRIVATE_DATA])
{
	struct rdma_conn_param param;

	describe(&param, response);
	return rdma_accept(id, &param) ? -errno : 0;
}

/* Says no to a connection, which is gone then; without a reason if `length` is 0. */
void peer_refuse(struct rdma_cm_id *id, const uint8_t response[PRIVATE_DATA], uint8_t length)
{
	rdma_reject(id, response, length);
	destroy(id);
}

/* Ends a connection, and that without a word if it is not to `part` in peace. */
void peer_end(struct rdma_cm_id *id, int part)
{
	if (part)
		rdma_disconnect(id);
	destroy(id);
}

/* Makes memory known to the device of a connection, and the other side may use it. */
struct ibv_mr *peer_register(struct rdma_cm_id *id, void *address, size_t length,
			     uint32_t *lkey, uint32_t *rkey)
{
	struct ibv_mr *mr = ibv_reg_mr(id->pd, address, length,
				       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);

	if (mr) {
		*lkey = mr->lkey;
		*rkey = mr->rkey;
	}
	return mr;
}

void peer_forget(struct ibv_mr *mr)
{
	ibv_dereg_mr(mr);
}

int peer_post(struct rdma_cm_id *id, const struct peer_work *work)
{
	struct ibv_sge sge = memory_of(work);
	struct ibv_send_wr wr = {
		.wr_id = work->id,
		.sg_list = &sge,
		.num_sge = work->length ? 1 : 0,
		.opcode = work->opcode,
		.imm_data = htonl(work->immediate),
		.wr.rdma = { .remote_addr = work->remote, .rkey = work->rkey },
	};
	struct ibv_send_wr *bad;

	return -ibv_post_send(id->qp, &wr, &bad);
}

int peer_receive(struct rdma_cm_id *id, const struct peer_work *work)
{
	struct ibv_sge sge = memory_of(work);
	struct ibv_recv_wr wr = { .wr_id = work->id, .sg_list = &sge, .num_sge = 1 };
	struct ibv_recv_wr *bad;

	return -ibv_post_recv(id->qp, &wr, &bad);
}

/* Takes the next completion of what was sent, or received. 0: there is none. */
int peer_poll(struct rdma_cm_id *id, int sent, struct peer_completion *completion)
{
	struct ibv_wc wc;
	int count = ibv_poll_cq(sent ? id->send_cq : id->recv_cq, 1, &wc);

	if (count != 1)
		return count;
	completion->id = wc.wr_id;
	completion->status = wc.status;
	completion->length = wc.byte_len;
	completion->immediate = ntohl(wc.imm_data);
	completion->has_immediate = !!(wc.wc_flags & IBV_WC_WITH_IMM);
	completion->written = wc.opcode == IBV_WC_RECV_RDMA_WITH_IMM;
	return 1;
}

/* Whether the other side has ended the connection. */
int peer_is_ended(struct rdma_cm_id *id)
{
	struct rdma_cm_event *event;
	int ended, found = next_event(id, &event);

	if (found != 1)
		return found;
	/* Or the other side has not waited for the connection to be accepted. */
	ended = event->event != RDMA_CM_EVENT_ESTABLISHED;
	rdma_ack_cm_event(event);
	return ended;
}
