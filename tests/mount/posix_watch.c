/* SPDX-License-Identifier: MIT */
/*
 * posix_watch.c - inotify: which events the calls on a file and its directory bring, in order
 */
#include "posix.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

static int watch;

/* The next event is this one; `name` is that of an entry of the watched directory, or NULL. */
static void expect(int line, int descriptor, uint32_t mask, const char *name)
{
	static char buffer[65536] __attribute__((aligned(8)));
	static size_t used, size;
	const struct inotify_event *event;

	if (used == size) {
		ssize_t n = read(watch, buffer, sizeof(buffer));

		if (n <= 0)
			posix_fail(__FILE__, line, "no event %#x of %s", mask, name ? name : "itself");
		used = 0;
		size = (size_t)n;
	}
	event = (const struct inotify_event *)(buffer + used);
	used += sizeof(*event) + event->len;
	if (event->wd != descriptor || (event->mask & ~IN_ISDIR) != mask ||
		strcmp(event->len ? event->name : "", name ? name : ""))
		posix_fail(__FILE__, line, "event %#x of \"%s\" (%d), expected %#x of \"%s\" (%d)",
			event->mask, event->len ? event->name : "", event->wd, mask,
			name ? name : "", descriptor);
}

#define EVENT(descriptor, mask, name) expect(__LINE__, descriptor, mask, name)

static void nothing_more(void)
{
	char buffer[4096];

	FAILS(read(watch, buffer, sizeof(buffer)), EAGAIN);
}

static void watch_directory(void)
{
	int dir, fd, other;

	OK(mkdir("dir", 0755));
	OK(mkdir("other", 0755));
	watch = OK(inotify_init1(IN_NONBLOCK));
	dir = OK(inotify_add_watch(watch, "dir", IN_ALL_EVENTS));
	other = OK(inotify_add_watch(watch, "other", IN_ALL_EVENTS));
	fd = OK(open("dir/file", O_CREAT | O_RDWR, 0644));
	EVENT(dir, IN_CREATE, "file");
	EVENT(dir, IN_OPEN, "file");
	SAME(write(fd, "text", 4), 4);
	EVENT(dir, IN_MODIFY, "file");
	SAME(pread(fd, &(char){0}, 1, 0), 1);
	EVENT(dir, IN_ACCESS, "file");
	OK(ftruncate(fd, 0));
	EVENT(dir, IN_MODIFY, "file");
	OK(fchmod(fd, 0600));
	EVENT(dir, IN_ATTRIB, "file");
	OK(close(fd));
	EVENT(dir, IN_CLOSE_WRITE, "file");
	OK(close(OK(open("dir/file", O_RDONLY))));
	EVENT(dir, IN_OPEN, "file");
	EVENT(dir, IN_CLOSE_NOWRITE, "file");
	OK(link("dir/file", "other/link"));
	EVENT(other, IN_CREATE, "link");
	OK(rename("dir/file", "other/moved"));
	EVENT(dir, IN_MOVED_FROM, "file");
	EVENT(other, IN_MOVED_TO, "moved");
	OK(mkdir("dir/sub", 0755));
	EVENT(dir, IN_CREATE, "sub");
	OK(rmdir("dir/sub"));
	EVENT(dir, IN_DELETE, "sub");
	OK(unlink("other/moved"));
	EVENT(other, IN_DELETE, "moved");
	OK(symlink("x", "dir/link"));
	EVENT(dir, IN_CREATE, "link");
	OK(unlink("dir/link"));
	EVENT(dir, IN_DELETE, "link");
	OK(rmdir("dir"));
	EVENT(dir, IN_DELETE_SELF, NULL);
	EVENT(dir, IN_IGNORED, NULL);
	nothing_more();
	OK(close(watch));
}

static void watch_file(void)
{
	int file, fd;

	file_put("file", "text");
	watch = OK(inotify_init1(IN_NONBLOCK));
	file = OK(inotify_add_watch(watch, "file", IN_ALL_EVENTS));
	OK(truncate("file", 2));
	EVENT(file, IN_MODIFY, NULL);
	OK(rename("file", "renamed"));
	EVENT(file, IN_MOVE_SELF, NULL);
	fd = OK(open("renamed", O_RDONLY));
	EVENT(file, IN_OPEN, NULL);
	OK(unlink("renamed")); /* open yet */
	EVENT(file, IN_ATTRIB, NULL);
	nothing_more();
	OK(close(fd));
	EVENT(file, IN_CLOSE_NOWRITE, NULL);
	EVENT(file, IN_DELETE_SELF, NULL);
	EVENT(file, IN_IGNORED, NULL);
	nothing_more();
	/* being replaced is the old file's end */
	file_put("file", "old");
	file_put("new", "new");
	file = OK(inotify_add_watch(watch, "file", IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF));
	OK(rename("new", "file"));
	EVENT(file, IN_ATTRIB, NULL);
	EVENT(file, IN_DELETE_SELF, NULL);
	EVENT(file, IN_IGNORED, NULL);
	nothing_more();
	OK(close(watch));
}

const struct posix_case posix_watch_cases[] = {
	{"watch_directory", watch_directory},
	{"watch_file", watch_file},
	{NULL, NULL},
};
