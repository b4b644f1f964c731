/* SPDX-License-Identifier: MIT */
/*
 * posix_links.c - hard links, files without a name, and what is not a regular file
 */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static void hard_links(void)
{
	struct stat a, b;
	int i;
	char name[32];

	file_put("a", "text");
	OK(mkdir("dir", 0755));
	OK(link("a", "dir/b"));
	a = file_stat("a");
	b = file_stat("dir/b");
	SAME(a.st_ino, b.st_ino);
	SAME(a.st_nlink, 2);
	file_put("dir/b", "changed");
	TEXT("a", "changed");
	OK(chmod("a", 0600));
	SAME(file_stat("dir/b").st_mode & 07777, 0600);
	OK(unlink("a"));
	SAME(file_stat("dir/b").st_nlink, 1);
	TEXT("dir/b", "changed");

	FAILS(link("dir", "link"), EPERM);
	FAILS(link("nothing", "link"), ENOENT);
	FAILS(link("dir/b", "dir/b"), EEXIST);
	FAILS(link("dir/b", "dir"), EEXIST);
	FAILS(link("dir/b", "nothing/b"), ENOENT);

	OK(symlink("dir/b", "soft"));
	OK(link("soft", "soft2")); /* a link to the link, not to what it points to */
	SAME(file_stat("soft2").st_ino, file_stat("soft").st_ino);
	TRUE(S_ISLNK(file_stat("soft2").st_mode));
	OK(linkat(AT_FDCWD, "soft", AT_FDCWD, "hard", AT_SYMLINK_FOLLOW));
	SAME(file_stat("hard").st_ino, file_stat("dir/b").st_ino);

	for (i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		OK(link("hard", name));
	}
	SAME(file_stat("hard").st_nlink, 502);
}

static void unlinked_open_file(void)
{
	unsigned char out[70000], in[70000];
	char path[64];
	struct stat st;
	int fd, second;

	fd = OK(open("file", O_RDWR | O_CREAT, 0644));
	pattern_fill(out, sizeof(out), 1, 0);
	SAME(write(fd, out, 100), 100);
	OK(unlink("file"));
	TRUE(!file_exists("file"));
	OK(fstat(fd, &st));
	SAME(st.st_nlink, 0);
	SAME(st.st_size, 100);

	/* goes on growing, shrinking, being read and written */
	SAME(pwrite(fd, out, sizeof(out), 0), sizeof(out));
	SAME(pread(fd, in, sizeof(in), 0), sizeof(in));
	TRUE(!memcmp(in, out, sizeof(in)));
	OK(ftruncate(fd, 10));
	SAME(pread(fd, in, sizeof(in), 0), 10);
	OK(fchmod(fd, 0600));
	OK(fsync(fd));

	/* a new file of the same name is another file */
	file_put("file", "other");
	OK(fstat(fd, &st));
	TRUE(st.st_ino != file_stat("file").st_ino);
	SAME(st.st_size, 10);

	/* it can be opened again through the descriptor, and has no way back to a name */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	second = OK(open(path, O_RDONLY));
	close(fd);
	SAME(read(second, in, sizeof(in)), 10);
	TRUE(!memcmp(in, out, 10));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", second);
	FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "back", AT_SYMLINK_FOLLOW), ENOENT);
	close(second);
	TEXT("file", "other");
}

static void removed_open_directory(void)
{
	struct dirent *entry;
	struct stat st;
	int fd;
	DIR *dir;

	OK(mkdir("dir", 0755));
	fd = OK(open("dir", O_RDONLY | O_DIRECTORY));
	OK(rmdir("dir"));
	OK(fstat(fd, &st));
	SAME(st.st_nlink, 0);
	FAILS(openat(fd, "new", O_CREAT | O_WRONLY, 0644), ENOENT);
	FAILS(mkdirat(fd, "new", 0755), ENOENT);
	FAILS(symlinkat("x", fd, "new"), ENOENT);
	FAILS(openat(fd, "old", O_RDONLY), ENOENT);
	file_put("file", "x");
	FAILS(linkat(AT_FDCWD, "file", fd, "new", 0), ENOENT);
	FAILS(renameat(AT_FDCWD, "file", fd, "new"), ENOENT);
	dir = fdopendir(fd);
	TRUE(dir);
	while ((entry = readdir(dir)))
		TRUE(!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."));
	closedir(dir);
	OK(mkdir("dir", 0755)); /* the name is free again */
}

static void fifo_write(void *arg)
{
	int fd = OK(open("fifo", O_WRONLY));

	(void)arg;
	SAME(write(fd, "through", 7), 7);
	close(fd);
}

static void special_files(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	struct stat st;
	char text[8];
	int fd, server, client;
	pid_t child;

	OK(mkfifo("fifo", 0640));
	SAME(file_stat("fifo").st_mode, S_IFIFO | 0640);
	child = child_start(fifo_write, NULL);
	fd = OK(open("fifo", O_RDONLY));
	SAME(read(fd, text, sizeof(text)), 7);
	TRUE(!memcmp(text, "through", 7));
	close(fd);
	child_wait(child);

	server = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(bind(server, (struct sockaddr *)&address, sizeof(address)));
	TRUE(S_ISSOCK(file_stat("socket").st_mode));
	OK(listen(server, 1));
	client = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(connect(client, (struct sockaddr *)&address, sizeof(address)));
	close(client);
	close(server);
	FAILS(open("socket", O_RDONLY), ENXIO);

	OK(mknod("char", S_IFCHR | 0600, makedev(1, 3)));
	OK(mknod("block", S_IFBLK | 0600, makedev(259, 70000)));
	st = file_stat("char");
	TRUE(S_ISCHR(st.st_mode));
	SAME(st.st_rdev, makedev(1, 3));
	st = file_stat("block");
	TRUE(S_ISBLK(st.st_mode));
	SAME(st.st_rdev, makedev(259, 70000));
	OK(link("fifo", "fifo2"));
	SAME(file_stat("fifo2").st_ino, file_stat("fifo").st_ino);
	SAME(file_stat("fifo").st_nlink, 2);
	OK(link("block", "block2"));
	SAME(file_stat("block2").st_rdev, makedev(259, 70000));
	SAME(file_stat("block").st_nlink, 2);
	OK(unlink("block"));
	SAME(file_stat("block2").st_nlink, 1);
	OK(link("socket", "socket2"));
	TRUE(S_ISSOCK(file_stat("socket2").st_mode));
	OK(rename("char", "renamed"));
	SAME(file_stat("renamed").st_rdev, makedev(1, 3));
	OK(mknod("regular", S_IFREG | 0600, 0));
	SAME(file_stat("regular").st_size, 0);
}

const struct posix_case posix_link_cases[] = {
	{"hard_links", hard_links},
	{"unlinked_open_file", unlinked_open_file},
	{"removed_open_directory", removed_open_directory},
	{"special_files", special_files},
	{NULL, NULL},
};
