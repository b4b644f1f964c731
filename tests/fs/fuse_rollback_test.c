/* SPDX-License-Identifier: MIT */
/*
 * fuse_rollback_test.c - what was answered before the tree went back, and is looked at after, is
 * not what the kernel goes on to believe.
 *
 * The kernel's side is played here: a session over a socket, and its rules for attributes. The
 * answer to a change comes into the cache whatever was told meanwhile, as late as the locks allow
 * that whoever asked holds until then: a directory's lock is waited for where a name in it is to be
 * forgotten, an inode's where it is to be forgotten itself is not. All that was sent is looked at
 * in order, by one thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fuse_front.h"
#include "fuse_rollback.h"
#include "sim_env.h"

#define STORE_PATH "store"
#define MESSAGE_MAX 65536u
#define NODES_MAX 8u
#define ANSWERS_MAX 8u
#define PAUSE_NS 1000000
#define PATIENCE 120000u /* pauses */

struct request {
	struct fuse_in_header header;
	uint8_t body[512];
};

struct message {
	struct fuse_out_header header;
	uint8_t body[MESSAGE_MAX];
};

/* What the kernel believes of an inode. */
struct node {
	uint64_t ino;
	bool believed;
	struct fuse_attr attr;
};

/* An answer that nobody has looked at yet. */
struct answer {
	uint64_t locked; /* directory, by whoever asked */
	uint64_t ino;
	bool lasting; /* good for some time */
	struct fuse_attr attr;
};

struct scene {
	struct sim_env *sim;
	struct kvfs *fs;
	struct fuse_front *front;
	struct fuse_session *session;
	int kernel; /* the other end of the session's socket */
	uint64_t unique;
	struct message message;
	struct node nodes[NODES_MAX];
	size_t node_count;
	struct answer answers[ANSWERS_MAX];
	size_t answer_count;
};

static void quiet(enum fuse_log_level level, const char *format, va_list args)
{
}

/* ---- talking --------------------------------------------------------------------------------- */

/* The next message, if there is one. */
static bool receive(struct scene *scene)
{
	ssize_t length = recv(scene->kernel, &scene->message, sizeof(scene->message), MSG_DONTWAIT);

	if (length < 0) {
		assert_int_equal(errno, EAGAIN);
		return false;
	}
	assert_in_range(length, sizeof(struct fuse_out_header), sizeof(scene->message));
	assert_int_equal(scene->message.header.len, length);
	return true;
}

/* A request's answer, which must be a good one of at least `size` bytes. */
static const void *ask(struct scene *scene, uint32_t opcode, uint64_t ino, const void *body,
	size_t body_size, size_t size)
{
	struct request request = {
		.header = {.opcode = opcode, .nodeid = ino, .unique = ++scene->unique}};
	struct fuse_buf buffer = {.mem = &request, .size = sizeof(request.header) + body_size};

	assert_in_range(body_size, 0, sizeof(request.body));
	memcpy(request.body, body, body_size);
	request.header.len = (uint32_t)buffer.size;
	fuse_session_process_buf(scene->session, &buffer);
	fuse_deferred_drain(scene->front);
	assert_true(receive(scene));
	assert_int_equal(scene->message.header.unique, scene->unique);
	assert_int_equal(scene->message.header.error, 0);
	assert_true(scene->message.header.len >= sizeof(struct fuse_out_header) + size);
	return scene->message.body;
}

static uint64_t lookup(struct scene *scene, const char *name)
{
	const struct fuse_entry_out *out =
		ask(scene, FUSE_LOOKUP, FUSE_ROOT_ID, name, strlen(name) + 1, sizeof(*out));
	struct node *node = &scene->nodes[scene->node_count++];

	assert_true(scene->node_count <= NODES_MAX);
	assert_int_not_equal(out->nodeid, 0);
	*node = (struct node){.ino = out->nodeid, .believed = true, .attr = out->attr};
	return out->nodeid;
}

static void answered(struct scene *scene, uint64_t locked, uint64_t ino,
	const struct fuse_attr *attr, bool lasting)
{
	assert_true(scene->answer_count < ANSWERS_MAX);
	scene->answers[scene->answer_count++] =
		(struct answer){.locked = locked, .ino = ino, .lasting = lasting, .attr = *attr};
}

static void chmod_unseen(struct scene *scene, uint64_t ino, uint32_t mode)
{
	struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = mode};
	const struct fuse_attr_out *out =
		ask(scene, FUSE_SETATTR, ino, &in, sizeof(in), sizeof(*out));

	answered(scene, ino, ino, &out->attr, out->attr_valid || out->attr_valid_nsec);
}

static void link_unseen(struct scene *scene, uint64_t ino, uint64_t directory)
{
	struct {
		struct fuse_link_in in;
		char name[8];
	} body = {{.oldnodeid = ino}, "link"};
	const struct fuse_entry_out *out =
		ask(scene, FUSE_LINK, directory, &body, sizeof(body), sizeof(*out));

	answered(scene, directory, ino, &out->attr, out->attr_valid || out->attr_valid_nsec);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static struct node *node_of(struct scene *scene, uint64_t ino)
{
	for (size_t i = 0; i < scene->node_count; i++)
		if (scene->nodes[i].ino == ino)
			return &scene->nodes[i];
	return NULL;
}

/* Whoever holds this lock looks at what was answered, and lets go; 0: all do. */
static void unlocked(struct scene *scene, uint64_t locked)
{
	for (size_t i = 0; i < scene->answer_count; i++) {
		struct answer *answer = &scene->answers[i];
		struct node *node = node_of(scene, answer->ino);

		if (!node || (locked && answer->locked != locked))
			continue;
		node->attr = answer->attr;
		node->believed = answer->lasting;
		answer->ino = 0;
	}
}

/* Does what it is told. */
static void listen_to_notices(struct scene *scene)
{
	struct fuse_notify_inval_entry_out entry;
	struct fuse_notify_inval_inode_out inode;
	struct node *node;

	while (receive(scene)) {
		assert_int_equal(scene->message.header.unique, 0);
		switch (scene->message.header.error) {
		case FUSE_NOTIFY_INVAL_ENTRY:
			memcpy(&entry, scene->message.body, sizeof(entry));
			node = node_of(scene, entry.parent);
			/* It would complain. */
			assert_true(!node || S_ISDIR(node->attr.mode));
			unlocked(scene, entry.parent);
			break;
		case FUSE_NOTIFY_INVAL_INODE:
			memcpy(&inode, scene->message.body, sizeof(inode));
			node = node_of(scene, inode.ino);
			if (node)
				node->believed = false;
			break;
		default:
			break;
		}
	}
	unlocked(scene, 0);
}

static struct fuse_attr truth(struct scene *scene, uint64_t ino)
{
	struct fuse_getattr_in in = {0};
	const struct fuse_attr_out *out =
		ask(scene, FUSE_GETATTR, ino, &in, sizeof(in), sizeof(*out));

	return out->attr;
}

/* ---- the scene ------------------------------------------------------------------------------- */

static void open_session(struct scene *scene)
{
	struct fuse_init_in init = {
		.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 65536};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char name[32];
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	scene->kernel = ends[0];
	assert_int_equal(fuse_opt_add_arg(&args, "test"), 0);
	fuse_set_log_func(quiet);
	scene->session =
		fuse_session_new(&args, fuse_front_ops(), sizeof(*fuse_front_ops()), scene->front);
	assert_non_null(scene->session);
	fuse_opt_free_args(&args);
	snprintf(name, sizeof(name), "/dev/fd/%d", ends[1]);
	assert_int_equal(fuse_session_mount(scene->session, name), 0);
	ask(scene, FUSE_INIT, 0, &init, sizeof(init), 0);
	fuse_front_set_session(scene->front, scene->session);
}

static void make_tree(struct kvfs *fs)
{
	static const struct kvfs_caller root = {.privileged = true};
	struct kvfs_attr attr;

	assert_int_equal(kvfs_mkdir(fs, &root, KVFS_ROOT_INO, "changed", 0755, &attr), 0);
	assert_int_equal(kvfs_mkdir(fs, &root, KVFS_ROOT_INO, "linked", 0755, &attr), 0);
	assert_int_equal(kvfs_mknod(fs, &root, KVFS_ROOT_INO, "file", S_IFREG | 0644, 0, &attr), 0);
	assert_int_equal(
		kvfs_mknod(fs, &root, KVFS_ROOT_INO, "other", S_IFREG | 0644, 0, &attr), 0);
	assert_int_equal(kvfs_snapshot_create(fs, "one"), 0);
}

static int setup_synced(void **state, enum fuse_front_sync sync)
{
	static const struct kvfs_create_options create = {.segment_size = 2 << 20};
	static const struct kvfs_open_options open = {.kv = {.flags = KV_OPEN_INLINE}};
	struct scene *scene = calloc(1, sizeof(*scene));
	const struct fuse_front_options options = {.sync = sync};
	struct sim_options disk = {.seed = 1, .capacity = 32 << 20, .file_size_max = 4 << 20};

	assert_non_null(scene);
	assert_int_equal(sim_env_new(&disk, &scene->sim), 0);
	assert_int_equal(
		kvfs_create(sim_env_table(scene->sim), STORE_PATH, &create, NULL, NULL), 0);
	assert_int_equal(kvfs_open(sim_env_table(scene->sim), STORE_PATH, &open, &scene->fs), 0);
	make_tree(scene->fs);
	assert_int_equal(fuse_front_new(scene->fs, &options, &scene->front), 0);
	open_session(scene);
	*state = scene;
	return 0;
}

static int setup(void **state)
{
	return setup_synced(state, FUSE_FRONT_SYNC_NONE);
}

/* Answers wait for the disk. */
static int setup_durable(void **state)
{
	return setup_synced(state, FUSE_FRONT_SYNC_ALL);
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	fuse_front_drain(scene->front);
	fuse_session_destroy(scene->session);
	fuse_front_free(scene->front);
	close(scene->kernel);
	assert_int_equal(kvfs_close(scene->fs), 0);
	sim_env_free(scene->sim);
	free(scene);
	return 0;
}

static void roll_back(struct scene *scene)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	char text[1024] = "";

	assert_int_equal(fuse_rollback_start(scene->front, "one", sizeof("one")), 0);
	for (unsigned i = 0; i < PATIENCE; i++) {
		assert_true(fuse_rollback_state(scene->front, text, sizeof(text)) > 0);
		if (strcmp(text, "running") != 0)
			break;
		nanosleep(&pause, NULL);
	}
	assert_string_equal(text, "0");
}

/* Without a thread for it nothing begins; the next one does. */
static void refuse_thread(struct scene *scene)
{
	pthread_attr_t usual, huge;

	assert_int_equal(pthread_getattr_default_np(&usual), 0);
	assert_int_equal(pthread_attr_init(&huge), 0);
	assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 48), 0);
	assert_int_equal(pthread_setattr_default_np(&huge), 0);
	assert_int_equal(fuse_rollback_start(scene->front, "one", sizeof("one")), -EAGAIN);
	assert_int_equal(pthread_setattr_default_np(&usual), 0);
	pthread_attr_destroy(&huge);
	pthread_attr_destroy(&usual);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_answers_unseen(void **state)
{
	struct scene *scene = *state;
	uint64_t changed = lookup(scene, "changed"), linked = lookup(scene, "linked");
	uint64_t file = lookup(scene, "file"), other = lookup(scene, "other");

	chmod_unseen(scene, changed, 0711);
	chmod_unseen(scene, file, 0600);
	link_unseen(scene, other, linked);
	refuse_thread(scene);
	roll_back(scene);
	listen_to_notices(scene);
	for (size_t i = 0; i < scene->node_count; i++) {
		const struct node *node = &scene->nodes[i];
		struct fuse_attr now = truth(scene, node->ino);

		assert_int_equal(now.mode & 0777, S_ISDIR(now.mode) ? 0755 : 0644);
		assert_int_equal(now.nlink, S_ISDIR(now.mode) ? 2 : 1);
		/* Something of each had changed, so that it has to be asked for. */
		if (node->believed)
			fail_msg("mode %o with %u links is believed, and is %o with %u",
				node->attr.mode, node->attr.nlink, now.mode, now.nlink);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_unseen, setup, teardown),
		{"test_answers_unseen_durable", test_answers_unseen, setup_durable, teardown, NULL},
	};

	return cmocka_run_group_tests_name("fuse_rollback", tests, NULL, NULL);
}
