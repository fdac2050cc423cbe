// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU that counts how often each block of instructions runs.
 *
 * It reads lines from the pipe of its argument `orders`. Each is the name of a
 * file to write all counts to, one block a line:
 *
 *	<address> <instructions of the block> <locked ones of them> <times it ran>
 *
 * and a second name, of a file that is made when the first one is complete.
 *
 * QEMU's header for plugins is in no package: what is needed of it, version 3 of
 * the interface, stands here.
 */

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;

struct counter {
	struct qemu_plugin_scoreboard *board;
	size_t offset;
};

enum operation { ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
		void (*translated)(uint64_t id, struct qemu_plugin_tb *block));
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *block,
		enum operation operation, struct counter counter, uint64_t operand);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block,
		size_t number);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t size);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size);
uint64_t qemu_plugin_u64_sum(struct counter counter);

EXPORT int qemu_plugin_version = 3;

/* A power of two, and several times what a guest ever runs. */
#define BLOCKS (1u << 20)

struct block {
	uint64_t address;
	uint16_t instructions;
	uint16_t locked;
};

static struct block blocks[BLOCKS];
static unsigned int used;
static struct qemu_plugin_scoreboard *board;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *orders;

static struct counter counter_of(unsigned int place)
{
	return (struct counter){ board, place * sizeof(uint64_t) };
}

/*
 * Whether an instruction keeps all other processors from the memory it works on.
 * A kernel that finds one processor only replaces lock prefixes by 3e, which
 * stands in front of other instructions than indirect jumps for no other reason.
 */
static bool is_locked(const struct qemu_plugin_insn *insn)
{
	unsigned char code[16] = { 0 };
	size_t size = qemu_plugin_insn_data(insn, code, sizeof(code) - 2);
	static const unsigned char prefixes[] = {
		0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3
	};
	bool was_locked = false;
	size_t i;

	for (i = 0; i < size && memchr(prefixes, code[i], sizeof(prefixes)); i++)
		was_locked |= code[i] == 0x3e;
	if (code[i] == 0xf0)
		return true;
	if (was_locked)
		return code[i] != 0xff && (code[i] & 0xf0) != 0x70;
	if ((code[i] & 0xf0) == 0x40)
		i++;
	/* An exchange with memory is locked by itself. */
	return (code[i] == 0x86 || code[i] == 0x87) && code[i + 1] < 0xc0;
}

/* Finds the place of a block, or takes a free one; 0 when there is none. */
static unsigned int place_of(uint64_t address, unsigned int instructions, bool *is_new)
{
	uint64_t hash = (address * 31 + instructions) * 0x9e3779b97f4a7c15;
	unsigned int place = hash >> 44;

	*is_new = false;
	for (;; place = (place + 1) % BLOCKS) {
		struct block *block = &blocks[place];

		if (!place)
			continue;
		if (block->address == address && block->instructions == instructions)
			return place;
		if (!block->instructions)
			break;
	}
	if (used == BLOCKS / 2)
		return 0;
	used++;
	blocks[place].address = address;
	blocks[place].instructions = instructions;
	*is_new = true;
	return place;
}

/* QEMU translates a block again whenever it likes: it keeps its place. */
static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	unsigned int instructions = qemu_plugin_tb_n_insns(tb), place;
	bool is_new;

	pthread_mutex_lock(&lock);
	place = place_of(qemu_plugin_tb_vaddr(tb), instructions, &is_new);
	for (unsigned int i = 0; is_new && i < instructions; i++)
		blocks[place].locked += is_locked(qemu_plugin_tb_get_insn(tb, i));
	pthread_mutex_unlock(&lock);
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, ADD_U64, counter_of(place), 1);
}

static bool write_counts(const char *name)
{
	FILE *file = fopen(name, "w");

	if (!file)
		return false;
	pthread_mutex_lock(&lock);
	for (unsigned int place = 0; place < BLOCKS; place++) {
		uint64_t times = qemu_plugin_u64_sum(counter_of(place));
		struct block *block = &blocks[place];

		if (times)
			fprintf(file, "%lx %u %u %lu\n", block->address, block->instructions,
				block->locked, times);
	}
	pthread_mutex_unlock(&lock);
	return fclose(file) == 0;
}

static void *serve(void *unused)
{
	char counts[512], done[512];
	FILE *pipe, *file;

	/* The sender of an order opens and closes the pipe each time. */
	while ((pipe = fopen(orders, "r"))) {
		while (fscanf(pipe, "%511s %511s", counts, done) == 2) {
			if (!write_counts(counts))
				continue;
			file = fopen(done, "w");
			if (file)
				fclose(file);
		}
		fclose(pipe);
	}
	return NULL;
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	if (argc != 1 || strncmp(argv[0], "orders=", 7)) {
		fprintf(stderr, "counter: the only argument is orders=<pipe>\n");
		return -1;
	}
	orders = strdup(argv[0] + 7);
	board = qemu_plugin_scoreboard_new(BLOCKS * sizeof(uint64_t));
	/* Signals are QEMU's own. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
