/* SPDX-License-Identifier: MIT */
/*
 * fuzz_fuse.c - any sequence of requests to the FUSE front end, as the kernel would frame them: any
 * opcode, node, and argument, names with an end, no more data than arrived. Nothing may crash; in
 * the end the store is as whole as ever.
 *
 * Answers are looked at for the nodes that the kernel learns of by them. Input: requests of an
 * opcode, a node, a form, the bytes of its arguments, and up to 255 bytes of names or data. One
 * that begins with the byte EXTENDED has the options of the mount in the next, and requests of more
 * kinds: BATCH_FORGET, the nodes of earlier answers and of .snapshots, values of any length, and,
 * where the length says 255, a length in four bytes and a byte for what is repeated behind the
 * first 64. Not reached is going back to a snapshot, which is a thread's work and the kernel's.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixed.h"
#include "fuse_reply.h"
#include "fuse_snapshot.h"
#include "fuzz.h"
#include "sim_env.h"

#define STORE_PATH "store"
#define REQUESTS_MAX 64u
#define TAIL_LONG 255u
#define TAIL_GIVEN 64u /* of a long one; the rest is one byte */
#define NODES 8u       /* most requests are about one of so many */
#define ANSWER_MAX 65536u
#define REQUEST_MAX (1u << 20) /* data of a write, or of a read's answer */
#define KNOWN 16u
#define NODE_SNAPSHOTS 0xdfu
#define NODE_KNOWN 0xe0u
#define NODE_ANY 0xf0u

/* No input without options begins with it: as an opcode it is another byte's alias. */
#define EXTENDED 0xffu

enum extended {
	EXTENDED_NO_ACL = 1,
	EXTENDED_SYNC_ALL = 2,
	EXTENDED_SYNC_NONE = 4,
	EXTENDED_STRICT_ATIME = 8,
	EXTENDED_SNAPSHOTS = 16,
	EXTENDED_STATUS = 32,
	EXTENDED_CAPABLE = 64, /* the kernel offers all that it may */
	EXTENDED_COMPRESS = 128,
};

/* What the library does not get offered: a second word of flags, and a longer SETXATTR. */
#define CAPABLE_FLAGS (~(UINT32_C(1) << 30 | UINT32_C(1) << 29))
/* Newer than some systems' headers. */
#define OPCODE_STATX 52u
#define STATX_IN_SIZE 24u

struct request {
	struct fuse_in_header header;
	uint8_t body[];
};

/* A node that an answer told of, and how often that is not forgotten yet. */
struct known {
	uint64_t node, held;
};

struct run {
	struct sim_env *sim;
	struct kvfs *fs;
	struct fuse_front *front;
	struct fuse_session *session;
	uint64_t unique;
	bool extended;
	uint8_t options;
	int answers; /* a file, which is the session's descriptor and closed with it */
	struct known known[KNOWN];
	unsigned known_next;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void hear(void *arg, enum kv_severity severity, const char *message)
{
	must(severity != KV_ERROR, message);
}

static void quiet(enum fuse_log_level level, const char *format, va_list args)
{
}

/* The kernel takes the answer. */
static void learn(struct run *run, uint64_t node)
{
	struct known *known;

	for (unsigned i = 0; i < KNOWN; i++) {
		if (run->known[i].node == node) {
			run->known[i].held++;
			return;
		}
	}
	known = &run->known[run->known_next++ % KNOWN];
	*known = (struct known){node, 1};
}

static bool is_entry(uint32_t opcode)
{
	return opcode == FUSE_LOOKUP || opcode == FUSE_MKNOD || opcode == FUSE_MKDIR ||
	       opcode == FUSE_SYMLINK || opcode == FUSE_LINK || opcode == FUSE_CREATE ||
	       opcode == FUSE_TMPFILE;
}

/* What has been answered, with a header before each. */
static void take_answers(struct run *run, uint32_t opcode)
{
	struct {
		struct fuse_out_header header;
		struct fuse_entry_out entry;
	} answer;
	off_t at = 0;
	ssize_t got;

	while ((got = pread(run->answers, &answer, sizeof(answer), at)) > 0) {
		must((size_t)got >= sizeof(answer.header) &&
				answer.header.len >= sizeof(answer.header),
			"an answer's length");
		if (is_entry(opcode) && !answer.header.error && got == sizeof(answer) &&
			answer.header.len >= sizeof(answer) && answer.entry.nodeid)
			learn(run, answer.entry.nodeid);
		at += answer.header.len;
	}
	must(ftruncate(run->answers, 0) == 0 && lseek(run->answers, 0, SEEK_SET) == 0, "answers");
}

static void send(struct run *run, struct request *request, size_t body_size)
{
	struct fuse_buf buffer = {.mem = request, .size = sizeof(request->header) + body_size};

	request->header.len = (uint32_t)buffer.size;
	request->header.unique = ++run->unique;
	fuse_session_process_buf(run->session, &buffer);
	/* Not fuse_front_drain, after which no long answer begins any more. */
	fuse_deferred_drain(run->front);
	take_answers(run, request->header.opcode);
}

static ssize_t tell_status(void *arg, char *buffer, size_t size)
{
	return snprintf(buffer, size, "status\n");
}

static void choose(struct run *run, struct fuse_front_options *front,
	struct kvfs_create_options *create, struct fuse_init_in *init)
{
	const uint8_t options = run->options;

	front->acl = !(options & EXTENDED_NO_ACL);
	if (options & EXTENDED_SYNC_ALL)
		front->sync = FUSE_FRONT_SYNC_ALL;
	if (options & EXTENDED_SYNC_NONE)
		front->sync = FUSE_FRONT_SYNC_NONE;
	front->strict_atime = options & EXTENDED_STRICT_ATIME;
	front->snapshots = options & EXTENDED_SNAPSHOTS;
	front->status = options & EXTENDED_STATUS ? tell_status : NULL;
	if (options & EXTENDED_CAPABLE)
		init->flags = CAPABLE_FLAGS;
	if (options & EXTENDED_COMPRESS)
		create->compress = KV_COMPRESS_INLINE;
}

static void begin(struct run *run)
{
	struct kvfs_create_options create = {.segment_size = 2 << 20};
	struct kvfs_open_options open_options = {
		.kv = {.flags = KV_OPEN_INLINE, .resident_size = 1, .report = hear}};
	struct fuse_front_options options = {.acl = true, .sync = FUSE_FRONT_SYNC_NAMES};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_init_in init = {
		.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 65536};
	struct request *request = calloc(1, sizeof(*request) + sizeof(init));
	char name[32];

	run->answers = memfd_create("answers", MFD_CLOEXEC);
	must(request != NULL && run->answers >= 0, "memory");
	choose(run, &options, &create, &init);
	open_options.atime = options.strict_atime ? KVFS_STRICTATIME : KVFS_RELATIME;
	must(sim_env_new(
		     &(struct sim_options){
			     .seed = 1, .capacity = 32 << 20, .file_size_max = 4 << 20},
		     &run->sim) == 0,
		"disk");
	must(kvfs_create(sim_env_table(run->sim), STORE_PATH, &create, hear, NULL) == 0, "create");
	must(kvfs_open(sim_env_table(run->sim), STORE_PATH, &open_options, &run->fs) == 0, "open");
	must(fuse_front_new(run->fs, &options, &run->front) == 0, "front");
	must(fuse_opt_add_arg(&args, "fuzz") == 0, "arguments");
	fuse_set_log_func(quiet);
	run->session =
		fuse_session_new(&args, fuse_front_ops(), sizeof(*fuse_front_ops()), run->front);
	must(run->session != NULL, "session");
	fuse_opt_free_args(&args);
	snprintf(name, sizeof(name), "/dev/fd/%d", run->answers);
	must(fuse_session_mount(run->session, name) == 0, "descriptor");
	request->header.opcode = FUSE_INIT;
	memcpy(request->body, &init, sizeof(init));
	send(run, request, sizeof(init));
	free(request);
}

static void end(struct run *run)
{
	uint64_t findings = 0;

	fuse_front_drain(run->front);
	fuse_session_destroy(run->session);
	fuse_front_free(run->front);
	must(kvfs_check(run->fs, hear, NULL, NULL, NULL, &findings) == 0, "check");
	must(findings == 0, "findings");
	must(kvfs_close(run->fs) == 0, "close");
	must(sim_env_power_on(run->sim, SIM_LOSS_ALL) == 0, "something is left open");
	sim_env_free(run->sim);
}

/* What a request has before its names or data; the kernel never sends less. */
static size_t argument_size(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_MKNOD:
		return sizeof(struct fuse_mknod_in);
	case FUSE_MKDIR:
		return sizeof(struct fuse_mkdir_in);
	case FUSE_RENAME:
		return sizeof(struct fuse_rename_in);
	case FUSE_RENAME2:
		return sizeof(struct fuse_rename2_in);
	case FUSE_LINK:
		return sizeof(struct fuse_link_in);
	case FUSE_GETATTR:
		return sizeof(struct fuse_getattr_in);
	case FUSE_SETATTR:
		return sizeof(struct fuse_setattr_in);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		return sizeof(struct fuse_open_in);
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		return sizeof(struct fuse_read_in);
	case FUSE_WRITE:
		return sizeof(struct fuse_write_in);
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return sizeof(struct fuse_release_in);
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
		return sizeof(struct fuse_fsync_in);
	case FUSE_SETXATTR:
		return FUSE_COMPAT_SETXATTR_IN_SIZE;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		return sizeof(struct fuse_getxattr_in);
	case FUSE_FALLOCATE:
		return sizeof(struct fuse_fallocate_in);
	case FUSE_LSEEK:
		return sizeof(struct fuse_lseek_in);
	case FUSE_COPY_FILE_RANGE:
		return sizeof(struct fuse_copy_file_range_in);
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		return sizeof(struct fuse_create_in);
	case FUSE_FLUSH:
		return sizeof(struct fuse_flush_in);
	case FUSE_ACCESS:
		return sizeof(struct fuse_access_in);
	case OPCODE_STATX:
		return STATX_IN_SIZE;
	case FUSE_FORGET:
		return sizeof(struct fuse_forget_in);
	default:
		return 0;
	}
}

static bool is_known(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_READLINK:
	case FUSE_SYMLINK:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_STATFS:
	case FUSE_REMOVEXATTR:
		return true;
	default:
		return argument_size(opcode) > 0;
	}
}

static void store_u32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static uint32_t load_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Behind the name's end; with options, without the two zeros that follow it, so that it fits. */
static size_t value_size(const struct run *run, const uint8_t *tail, size_t size)
{
	const size_t name = strnlen((const char *)tail, size - 1) + 1;
	const size_t end = run->extended ? size - 2 : size;

	return name < end ? end - name : 0;
}

/* What the kernel vouches for: lengths. */
static void frame(const struct run *run, uint32_t opcode, uint8_t *body, size_t tail)
{
	const uint32_t answer_max = run->extended ? REQUEST_MAX + 1 : ANSWER_MAX;
	size_t at = offsetof(struct fuse_read_in, size);

	if (opcode == FUSE_WRITE)
		store_u32(body + offsetof(struct fuse_write_in, size), (uint32_t)tail);
	else if (opcode == FUSE_SETXATTR)
		store_u32(
			body, (uint32_t)value_size(run, body + FUSE_COMPAT_SETXATTR_IN_SIZE, tail));
	else if (opcode == FUSE_GETXATTR || opcode == FUSE_LISTXATTR)
		store_u32(body, load_u32(body) % ANSWER_MAX);
	else if (opcode == FUSE_READ || opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS)
		store_u32(body + at, load_u32(body + at) % answer_max);
}

/* How much the kernel takes from a caller. */
static uint32_t tail_max(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_WRITE:
		return REQUEST_MAX;
	case FUSE_SETXATTR:
		return 255 + 65536;
	case FUSE_SYMLINK:
		return 255 + 4096;
	default:
		return 2 * 1024;
	}
}

static uint64_t choose_node(
	const struct run *run, struct fuzz_input *input, uint8_t node, uint8_t form)
{
	if (node >= NODE_ANY)
		return (uint64_t)fuzz_u32(input) << (form & 31);
	if (run->extended && node >= NODE_KNOWN && run->known[node % KNOWN].node)
		return run->known[node % KNOWN].node;
	if (run->extended && node == NODE_SNAPSHOTS)
		return SNAPSHOTS_INO;
	return 1 + node % NODES;
}

/*
 * How often the kernel may forget it: nodes of snapshots as often as it learned of them, as the
 * front end closes a snapshot with the last, and any other as it likes.
 */
static uint64_t may_forget(struct run *run, uint64_t node, uint64_t count)
{
	if (node <= FUSE_NODE_INO_MAX)
		return count;
	for (unsigned i = 0; i < KNOWN; i++) {
		struct known *known = &run->known[i];

		if (known->node == node) {
			count = count < known->held ? count : known->held;
			known->held -= count;
			return count;
		}
	}
	return 0;
}

static void batch_forget(struct run *run, struct fuzz_input *input, struct fuse_in_header *header)
{
	uint32_t count = 1 + fuzz_u8(input) % 32;
	size_t size = sizeof(struct fuse_batch_forget_in) + count * sizeof(struct fuse_forget_one);
	struct request *request = calloc(1, sizeof(*request) + size);
	struct fuse_batch_forget_in *batch = (struct fuse_batch_forget_in *)request->body;
	struct fuse_forget_one *forgets = (struct fuse_forget_one *)(batch + 1);

	must(request != NULL, "memory");
	request->header = *header;
	batch->count = count;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t node = fuzz_u8(input), times = fuzz_u8(input);

		forgets[i].nodeid = choose_node(run, input, node, times);
		forgets[i].nlookup = may_forget(run, forgets[i].nodeid, times);
	}
	send(run, request, size);
	free(request);
}

static void request(struct run *run, struct fuzz_input *input)
{
	struct fuse_in_header header = {.opcode = fuzz_u8(input) % (OPCODE_STATX + 1)};
	uint8_t node = fuzz_u8(input), form = fuzz_u8(input), filler = 0;
	size_t arguments = argument_size(header.opcode), tail = fuzz_u8(input), given = tail;
	struct request *request;

	if (run->extended && tail == TAIL_LONG) {
		tail = fuzz_u32(input) % (tail_max(header.opcode) - 1);
		given = tail < TAIL_GIVEN ? tail : TAIL_GIVEN;
		filler = fuzz_u8(input);
	}
	header.nodeid = choose_node(run, input, node, form);
	header.uid = form & 1 ? 0 : 1000;
	header.gid = form & 2 ? 0 : 1000;
	if (run->extended && header.opcode == FUSE_BATCH_FORGET) {
		batch_forget(run, input, &header);
		return;
	}
	request = calloc(1, sizeof(*request) + arguments + tail + 2);
	must(request != NULL, "memory");
	request->header = header;
	fuzz_bytes(input, request->body, arguments);
	fuzz_bytes(input, request->body + arguments, given);
	memset(request->body + arguments + given, filler, tail - given);
	/* Two names fit, and both have an end. */
	frame(run, header.opcode, request->body, tail + 2);
	if (run->extended && header.opcode == FUSE_FORGET) {
		uint64_t count = may_forget(run, header.nodeid, load_u32(request->body));

		memcpy(request->body, &count, sizeof(count));
	}
	if (is_known(header.opcode))
		send(run, request, arguments + tail + 2);
	free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct run run = {.options = 0};

	run.extended = size > 0 && data[0] == EXTENDED;
	if (run.extended) {
		(void)fuzz_u8(&input);
		run.options = fuzz_u8(&input);
	}
	fixed_begin(0);
	begin(&run);
	for (unsigned i = 0; i < REQUESTS_MAX && input.left > 0; i++)
		request(&run, &input);
	end(&run);
	fixed_end();
	return 0;
}
