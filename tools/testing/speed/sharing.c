// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU that counts cache lines which pass from processor to processor.
 *
 * Each processor has a cache without limits, and the caches are coherent: a line of
 * memory is held by one processor that may write it, or by several that read it. A
 * transfer is an access of a processor to a line that others hold: a read by one that
 * does not hold it, or a write while others do, which takes the line from them. The
 * first access of all is free. An instruction that reads and writes a line counts once.
 *
 * Only accesses to addresses of the kernel count, by physical address. Nothing is
 * watched, and the guest runs at full speed, until the order to watch.
 *
 * It reads orders from the pipe of its argument `orders`, one a line:
 *
 *	watch <done>
 *	write <counts> <done>
 *
 * and makes the file <done> when it has followed one. <counts> has a line for each
 * instruction that caused transfers, and one for each instruction that caused some of a
 * line that is often transferred:
 *
 *	at <address> <by reads> <by writes>
 *	line <address of the line> <number> <address> <by reads> <by writes>
 *
 * The number tells lines apart; one with several addresses has the last of them.
 *
 * QEMU's header for plugins is in no package: what is needed of it, version 3 of the
 * interface, stands here. Its functions are weak, so that tests load this without QEMU.
 */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define WEAK __attribute__((weak))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;

enum registers { NO_REGISTERS };
enum accesses { READS = 1, WRITES, READS_AND_WRITES };

typedef void (*reset_done)(uint64_t id);
typedef void (*resumed)(uint64_t id, unsigned int cpu);
typedef void (*translated)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*accessed)(unsigned int cpu, uint32_t access, uint64_t address, void *data);

WEAK void qemu_plugin_reset(uint64_t id, reset_done callback);
WEAK void qemu_plugin_register_vcpu_resume_cb(uint64_t id, resumed callback);
WEAK void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated callback);
WEAK size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
WEAK struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block,
		size_t number);
WEAK uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
WEAK void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, accessed callback,
		enum registers registers, enum accesses accesses, void *data);
WEAK unsigned int qemu_plugin_mem_size_shift(uint32_t access);
WEAK bool qemu_plugin_mem_is_store(uint32_t access);
WEAK struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t access, uint64_t address);
WEAK bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *address);
WEAK uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *address);

EXPORT int qemu_plugin_version = 3;

#define CPUS 16
#define LINE_SHIFT 6
#define PAGE_SIZE 4096
/* Of 4 GiB of memory; a page of these tables exists once it is used. */
#define LINES (1ul << (32 - LINE_SHIFT))
/* Powers of two, and several times what a guest ever needs. */
#define SITES (1u << 20)
#define PAIRS (1u << 18)
/* Transfers of a line from which on it is told who causes them. */
#define OFTEN 32
#define KERNEL (1ul << 63)

/* An instruction, and the transfers that it has caused. */
struct site {
	uint64_t address;
	_Atomic uint64_t reads;
	_Atomic uint64_t writes;
};

/* An instruction and a line, as far as it is often transferred. */
struct pair {
	_Atomic uint64_t key;
	_Atomic uint64_t address;
	_Atomic uint64_t reads;
	_Atomic uint64_t writes;
};

/* The last transfer by a read of each processor, on cache lines of their own. */
struct read {
	const struct site *site;
	uint64_t line;
} __attribute__((aligned(128)));

static struct site sites[SITES];
static unsigned int used;
static struct pair pairs[PAIRS];
static struct read last[CPUS];
static _Atomic uint16_t *holders;
static _Atomic uint32_t *transfers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *orders;
static _Atomic bool wanted, watching;

#define relaxed memory_order_relaxed
#define increment(counter) atomic_fetch_add_explicit(counter, 1, relaxed)

/* Finds the place of an instruction, or takes a free one; NULL when there is none. */
static struct site *site_of(uint64_t address)
{
	unsigned int place = address * 0x9e3779b97f4a7c15 >> 44;
	struct site *site = NULL;

	pthread_mutex_lock(&lock);
	while (sites[place].address && sites[place].address != address)
		place = (place + 1) % SITES;
	if (sites[place].address || used < SITES / 2) {
		site = &sites[place];
		used += !site->address;
		site->address = address;
	}
	pthread_mutex_unlock(&lock);
	return site;
}

static void note_pair(const struct site *site, uint64_t line, uint64_t address, bool is_store)
{
	uint64_t key = (line * SITES + (site - sites)) + 1;
	unsigned int place = key * 0x9e3779b97f4a7c15 >> 46;

	for (int tries = 0; tries < 64; tries++, place = (place + 1) % PAIRS) {
		struct pair *pair = &pairs[place];
		uint64_t found = 0;

		if (!atomic_compare_exchange_strong(&pair->key, &found, key) && found != key)
			continue;
		atomic_store_explicit(&pair->address, address, relaxed);
		increment(is_store ? &pair->writes : &pair->reads);
		return;
	}
}

/* Returns whether an access to a line is a transfer. */
static bool is_transfer(unsigned int cpu, const struct site *site, uint64_t line, bool is_store)
{
	uint16_t me = 1u << cpu, before = atomic_load_explicit(&holders[line], relaxed);
	bool counted;

	if (!is_store) {
		if (before & me)
			return false;
		before = atomic_fetch_or_explicit(&holders[line], me, relaxed);
		if (!before)
			return false;
		last[cpu] = (struct read){ site, line };
		return true;
	}
	/* What the read of the same instruction has counted. */
	counted = last[cpu].site == site && last[cpu].line == line;
	last[cpu].site = NULL;
	if (before == me)
		return false;
	before = atomic_exchange_explicit(&holders[line], me, relaxed);
	return (before & ~me) && !counted;
}

/* An access of `size` bytes by a processor; tests call it, too. */
EXPORT void sharing_access(unsigned int cpu, struct site *site, uint64_t physical,
		uint64_t address, unsigned int size, bool is_store)
{
	uint64_t first = physical >> LINE_SHIFT, end = (physical + size - 1) >> LINE_SHIFT;

	/* What lies on the next page is anywhere. */
	if (physical / PAGE_SIZE != (physical + size - 1) / PAGE_SIZE)
		end = first;
	for (uint64_t line = first; line <= end && line < LINES; line++) {
		if (!is_transfer(cpu, site, line, is_store))
			continue;
		increment(is_store ? &site->writes : &site->reads);
		if (increment(&transfers[line]) >= OFTEN)
			note_pair(site, line, address & -(1ul << LINE_SHIFT), is_store);
	}
}

EXPORT struct site *sharing_site(uint64_t address)
{
	return site_of(address);
}

static void on_access(unsigned int cpu, uint32_t access, uint64_t address, void *site)
{
	struct qemu_plugin_hwaddr *physical;

	if (address < KERNEL || cpu >= CPUS)
		return;
	physical = qemu_plugin_get_hwaddr(access, address);
	if (!physical || qemu_plugin_hwaddr_is_io(physical))
		return;
	sharing_access(cpu, site, qemu_plugin_hwaddr_phys_addr(physical), address,
		       1u << qemu_plugin_mem_size_shift(access), qemu_plugin_mem_is_store(access));
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *block)
{
	size_t instructions = qemu_plugin_tb_n_insns(block);

	for (size_t i = 0; i < instructions; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);
		struct site *site;

		/* Programs do not reach memory of the kernel. */
		if (address < KERNEL)
			return;
		site = site_of(address);
		if (site)
			qemu_plugin_register_vcpu_mem_cb(insn, on_access, NO_REGISTERS,
							 READS_AND_WRITES, site);
	}
}

/* All blocks were dropped, and are translated again when they run. */
static void on_reset(uint64_t id)
{
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	watching = true;
}

/*
 * QEMU drops the blocks only if a processor asks for it. One that wakes up does so at
 * once; one that goes to sleep might sleep on.
 */
static void on_resume(uint64_t id, unsigned int cpu)
{
	if (atomic_exchange(&wanted, false))
		qemu_plugin_reset(id, on_reset);
}

EXPORT bool sharing_write(const char *name)
{
	FILE *file = fopen(name, "w");

	if (!file)
		return false;
	for (struct site *site = sites; site < sites + SITES; site++)
		if (site->reads || site->writes)
			fprintf(file, "at %lx %lu %lu\n", site->address, site->reads,
				site->writes);
	for (struct pair *pair = pairs; pair < pairs + PAIRS; pair++) {
		uint64_t key = pair->key - 1;

		if (pair->key)
			fprintf(file, "line %lx %lx %lx %lu %lu\n", pair->address, key / SITES,
				sites[key % SITES].address, pair->reads, pair->writes);
	}
	return fclose(file) == 0;
}

static void follow(const char *order)
{
	char counts[512], done[512];
	FILE *file;

	if (sscanf(order, "watch %511s", done) == 1) {
		wanted = true;
		while (!watching)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	} else if (sscanf(order, "write %511s %511s", counts, done) != 2 ||
		   !sharing_write(counts)) {
		return;
	}
	file = fopen(done, "w");
	if (file)
		fclose(file);
}

static void *serve(void *unused)
{
	char order[1100];
	FILE *pipe;

	/* The sender of an order opens and closes the pipe each time. */
	while ((pipe = fopen(orders, "r"))) {
		while (fgets(order, sizeof(order), pipe))
			follow(order);
		fclose(pipe);
	}
	return NULL;
}

static void *table(size_t size)
{
	void *found = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return found == MAP_FAILED ? NULL : found;
}

/* Makes the tables, empty; tests call it, too. */
EXPORT bool sharing_start(void)
{
	memset(sites, 0, sizeof(sites));
	memset(pairs, 0, sizeof(pairs));
	memset(last, 0, sizeof(last));
	used = 0;
	holders = table(LINES * sizeof(*holders));
	transfers = table(LINES * sizeof(*transfers));
	return holders && transfers;
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	if (argc != 1 || strncmp(argv[0], "orders=", 7)) {
		fprintf(stderr, "sharing: the only argument is orders=<pipe>\n");
		return -1;
	}
	orders = strdup(argv[0] + 7);
	if (!sharing_start())
		return -1;
	/* Signals are QEMU's own. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return -1;
	qemu_plugin_register_vcpu_resume_cb(id, on_resume);
	return 0;
}
