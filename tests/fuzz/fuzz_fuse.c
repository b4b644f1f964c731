/* SPDX-License-Identifier: MIT */
/*
 * fuzz_fuse.c - any sequence of requests to the FUSE front end, as the kernel would frame them: any
 * opcode, node, and argument, names with an end, no more data than arrived. Nothing may crash; in
 * the end the store is as whole as ever.
 *
 * The session's descriptor is /dev/null, where answers are lost. Input: requests of an opcode, a
 * node, a form, the bytes of its arguments, and up to 255 bytes of names or data.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixed.h"
#include "fuse_reply.h"
#include "fuzz.h"
#include "sim_env.h"

#define STORE_PATH "store"
#define REQUESTS_MAX 64u
#define ARGUMENTS_MAX 96u
#define TAIL_MAX 255u
#define NODES 8u /* most requests are about one of so many */
#define ANSWER_MAX 65536u
/* Newer than some systems' headers. */
#define OPCODE_STATX 52u
#define STATX_IN_SIZE 24u

struct request {
	struct fuse_in_header header;
	uint8_t body[ARGUMENTS_MAX + TAIL_MAX + 2];
};

struct run {
	struct sim_env *sim;
	struct kvfs *fs;
	struct fuse_front *front;
	struct fuse_session *session;
	uint64_t unique;
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

static void send(struct run *run, struct request *request, size_t body_size)
{
	struct fuse_buf buffer = {.mem = request, .size = sizeof(request->header) + body_size};

	request->header.len = (uint32_t)buffer.size;
	request->header.unique = ++run->unique;
	fuse_session_process_buf(run->session, &buffer);
	/* Not fuse_front_drain, after which no long answer begins any more. */
	fuse_deferred_drain(run->front);
}

static void begin(struct run *run)
{
	static const struct kvfs_create_options create = {.segment_size = 2 << 20};
	struct kvfs_open_options open_options = {
		.kv = {.flags = KV_OPEN_INLINE, .resident_size = 1, .report = hear}};
	struct fuse_front_options options = {.acl = true, .sync = FUSE_FRONT_SYNC_NAMES};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_init_in init = {
		.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 65536};
	struct request request = {.header.opcode = FUSE_INIT};
	char name[32];
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

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
	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	must(fuse_session_mount(run->session, name) == 0, "descriptor");
	memcpy(request.body, &init, sizeof(init));
	send(run, &request, sizeof(init));
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

/* What the kernel vouches for: lengths. */
static void frame(uint32_t opcode, uint8_t *body, size_t tail)
{
	size_t at = offsetof(struct fuse_read_in, size);

	if (opcode == FUSE_WRITE)
		store_u32(body + offsetof(struct fuse_write_in, size), (uint32_t)tail);
	else if (opcode == FUSE_SETXATTR) /* of the value, behind the name's end */
		store_u32(body,
			(uint32_t)(tail - 1 -
				   strnlen((char *)body + FUSE_COMPAT_SETXATTR_IN_SIZE, tail - 1)));
	else if (opcode == FUSE_GETXATTR || opcode == FUSE_LISTXATTR)
		store_u32(body, load_u32(body) % ANSWER_MAX);
	else if (opcode == FUSE_READ || opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS)
		store_u32(body + at, load_u32(body + at) % ANSWER_MAX);
}

static void request(struct run *run, struct fuzz_input *input)
{
	struct request *request = calloc(1, sizeof(*request));
	uint32_t opcode = fuzz_u8(input) % (OPCODE_STATX + 1);
	uint8_t node = fuzz_u8(input), form = fuzz_u8(input);
	size_t arguments = argument_size(opcode), tail = fuzz_u8(input);

	must(request != NULL, "memory");
	request->header.opcode = opcode;
	request->header.nodeid =
		node < 0xf0 ? 1 + node % NODES : (uint64_t)fuzz_u32(input) << (form & 31);
	request->header.uid = form & 1 ? 0 : 1000;
	request->header.gid = form & 2 ? 0 : 1000;
	fuzz_bytes(input, request->body, arguments);
	fuzz_bytes(input, request->body + arguments, tail);
	/* Two names fit, and both have an end. */
	frame(opcode, request->body, tail + 2);
	if (is_known(opcode))
		send(run, request, arguments + tail + 2);
	free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct run run = {0};

	fixed_begin(0);
	begin(&run);
	for (unsigned i = 0; i < REQUESTS_MAX && input.left > 0; i++)
		request(&run, &input);
	end(&run);
	fixed_end();
	return 0;
}
