/* SPDX-License-Identifier: MIT */
/*
 * posix_access.c - who may do what, tried as somebody who is not root
 */
#include "posix.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ALICE 54321u
#define BOB 54322u
#define GROUP_ONE 64321u
#define GROUP_TWO 64322u

/* Runs `run` as this user, of group `gid` and the supplementary group GROUP_TWO if `second`. */
struct person {
	uid_t uid;
	gid_t gid;
	bool second;
	void (*run)(void);
};

static void person_run(void *arg)
{
	const struct person *person = arg;
	gid_t groups[] = {GROUP_TWO};

	OK(setgroups(person->second ? 1 : 0, groups));
	OK(setresgid(person->gid, person->gid, person->gid));
	OK(setresuid(person->uid, person->uid, person->uid));
	person->run();
}

static void as(uid_t uid, gid_t gid, bool second, void (*run)(void))
{
	struct person person = {uid, gid, second, run};

	child_run(person_run, &person);
}

static void give(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	OK(chown(path, uid, gid));
	OK(chmod(path, mode));
}

static void may_read_write(void)
{
	OK(close(OK(open("file", O_RDWR))));
}

static void may_only_read(void)
{
	OK(close(OK(open("file", O_RDONLY))));
	FAILS(open("file", O_WRONLY), EACCES);
	FAILS(open("file", O_RDONLY | O_TRUNC), EACCES);
	FAILS(truncate("file", 0), EACCES);
	OK(access("file", R_OK));
	FAILS(access("file", W_OK), EACCES);
}

static void may_nothing(void)
{
	FAILS(open("file", O_RDONLY), EACCES);
	FAILS(open("file", O_WRONLY), EACCES);
	FAILS(access("file", R_OK), EACCES);
	OK(access("file", F_OK));
}

static void may_execute_only(void)
{
	OK(access("file", X_OK));
	FAILS(open("file", O_RDONLY), EACCES);
}

/* The first class that fits decides, also when a later one would allow more. */
static void classes(void)
{
	file_put("file", "x");
	give("file", ALICE, GROUP_ONE, 0640);
	as(ALICE, GROUP_TWO, false, may_read_write);
	as(BOB, GROUP_ONE, false, may_only_read);
	as(BOB, GROUP_TWO, false, may_nothing);
	give("file", ALICE, GROUP_TWO, 0640);
	as(BOB, GROUP_ONE, true, may_only_read);
	give("file", ALICE, GROUP_ONE, 0066);
	as(ALICE, GROUP_ONE, false, may_nothing);
	as(BOB, GROUP_TWO, false, may_read_write);
	give("file", ALICE, GROUP_ONE, 0606);
	as(BOB, GROUP_ONE, false, may_nothing);
	give("file", ALICE, GROUP_ONE, 0111);
	as(BOB, GROUP_TWO, false, may_execute_only);
	give("file", 0, 0, 0000);
	may_read_write(); /* root */
	FAILS(access("file", X_OK), EACCES);
}

static void in_readable_directory(void)
{
	FAILS(open("dir/file", O_RDONLY), EACCES);
	FAILS(chdir("dir"), EACCES);
	OK(close(OK(open("dir", O_RDONLY | O_DIRECTORY))));
}

static void in_searchable_directory(void)
{
	OK(close(OK(open("dir/file", O_RDONLY))));
	FAILS(open("dir", O_RDONLY | O_DIRECTORY), EACCES);
	FAILS(open("dir/new", O_CREAT | O_WRONLY, 0644), EACCES);
	FAILS(mkdir("dir/new", 0755), EACCES);
	FAILS(symlink("x", "dir/new"), EACCES);
	FAILS(link("dir/file", "dir/new"), EACCES);
	FAILS(unlink("dir/file"), EACCES);
	FAILS(rename("dir/file", "dir/new"), EACCES);
	FAILS(rmdir("dir/sub"), EACCES);
	FAILS(open("dir/none", O_RDONLY), ENOENT);
}

static void in_writable_directory(void)
{
	OK(close(OK(open("dir/new", O_CREAT | O_WRONLY, 0600))));
	SAME(file_stat("dir/new").st_uid, BOB);
	SAME(file_stat("dir/new").st_gid, GROUP_ONE);
	OK(rename("dir/file", "dir/moved")); /* the directory decides, not the file */
	OK(unlink("dir/moved"));
	OK(mkdir("dir/made", 0700));
	OK(rmdir("dir/made"));
	OK(unlink("dir/new"));
}

static void directories(void)
{
	OK(mkdir("dir", 0755));
	OK(mkdir("dir/sub", 0755));
	file_put("dir/file", "x");
	OK(chown("dir/file", BOB, GROUP_ONE));
	OK(chmod("dir", 0744));
	as(BOB, GROUP_ONE, false, in_readable_directory);
	OK(chmod("dir", 0711));
	as(BOB, GROUP_ONE, false, in_searchable_directory);
	OK(chmod("dir", 0777));
	as(BOB, GROUP_ONE, false, in_writable_directory);
}

static void in_sticky_directory(void)
{
	FAILS(unlink("dir/hers"), EPERM);
	FAILS(rename("dir/hers", "dir/mine"), EPERM);
	FAILS(rmdir("dir/her_dir"), EPERM);
	OK(close(OK(open("dir/my_new", O_CREAT | O_WRONLY, 0644))));
	FAILS(rename("dir/my_new", "dir/hers"), EPERM);
	OK(rename("dir/my_new", "dir/my_old"));
	FAILS(renameat2(AT_FDCWD, "dir/my_old", AT_FDCWD, "dir/hers", RENAME_EXCHANGE), EPERM);
	FAILS(rename("dir/her_dir", "her_dir"), EPERM);
	OK(unlink("dir/my_old"));
	OK(unlink("dir/mine"));
}

static void unlink_hers(void)
{
	OK(unlink("dir/hers"));
	OK(unlink("dir/his")); /* the directory is hers */
}

static void sticky(void)
{
	OK(mkdir("dir", 0755));
	give("dir", ALICE, GROUP_ONE, 01777);
	file_put("dir/hers", "x");
	give("dir/hers", ALICE, GROUP_ONE, 0666);
	file_put("dir/mine", "x");
	give("dir/mine", BOB, GROUP_ONE, 0644);
	file_put("dir/his", "x");
	give("dir/his", BOB, GROUP_ONE, 0600);
	OK(mkdir("dir/her_dir", 0755));
	give("dir/her_dir", ALICE, GROUP_ONE, 0777);
	as(BOB, GROUP_ONE, false, in_sticky_directory);
	as(ALICE, GROUP_ONE, false, unlink_hers);
}

static void as_stranger(void)
{
	struct timespec times[2] = {{1, 0}, {2, 0}};

	FAILS(chmod("file", 0777), EPERM);
	FAILS(chown("file", BOB, -1), EPERM);
	FAILS(chown("file", -1, GROUP_ONE), EPERM);
	FAILS(utimensat(AT_FDCWD, "file", times, 0), EPERM);
	FAILS(utimensat(AT_FDCWD, "file", NULL, 0), EACCES);
	FAILS(setxattr("file", "user.x", "x", 1, 0), EACCES);
	FAILS(setxattr("file", "trusted.x", "x", 1, 0), EPERM);
	FAILS(mknod("device", S_IFCHR | 0600, 0x103), EPERM);
}

static void as_owner(void)
{
	struct timespec times[2] = {{1, 0}, {2, 0}};

	OK(chmod("file", 06755));
	OK(utimensat(AT_FDCWD, "file", times, 0));
	OK(utimensat(AT_FDCWD, "file", NULL, 0));
	FAILS(chown("file", BOB, -1), EPERM);
	FAILS(chown("file", -1, GROUP_ONE + 7), EPERM);
	OK(chown("file", -1, GROUP_TWO)); /* a group of his own; the set-id bits go */
	SAME(file_stat("file").st_gid, GROUP_TWO);
	SAME(file_stat("file").st_mode & 07777, 0755);
	OK(setxattr("file", "user.x", "x", 1, 0));
}

static void owners(void)
{
	file_put("file", "x");
	give("file", ALICE, GROUP_ONE, 0644);
	as(BOB, GROUP_ONE, false, as_stranger);
	as(ALICE, GROUP_ONE, true, as_owner);
}

static void write_to_file(void)
{
	int fd = OK(open("file", O_WRONLY));

	SAME(write(fd, "y", 1), 1);
	close(fd);
}

static void truncate_the_file(void)
{
	OK(truncate("file", 0));
}

/* Whoever changes a program's bytes must not leave it with its owner's rights. */
static void set_id_bits(void)
{
	file_put("file", "x");
	give("file", ALICE, GROUP_ONE, 06777);
	as(BOB, GROUP_TWO, false, write_to_file);
	SAME(file_stat("file").st_mode & 07777, 0777);
	give("file", ALICE, GROUP_ONE, 06777);
	as(BOB, GROUP_TWO, false, truncate_the_file);
	SAME(file_stat("file").st_mode & 07777, 0777);
	give("file", ALICE, GROUP_ONE, 06777);
	OK(chown("file", BOB, GROUP_ONE));
	SAME(file_stat("file").st_mode & 07777, 0777);
	give("file", ALICE, GROUP_ONE, 06777);
	write_to_file(); /* root keeps them */
	SAME(file_stat("file").st_mode & 07777, 06777);
}

static void create_in_directory(void)
{
	file_put("dir/file", "x");
	OK(mkdir("dir/sub", 0755));
	OK(symlink("x", "dir/link"));
}

static void group_inheritance(void)
{
	OK(mkdir("dir", 0755));
	give("dir", ALICE, GROUP_TWO, 02777);
	as(BOB, GROUP_ONE, false, create_in_directory);
	SAME(file_stat("dir/file").st_gid, GROUP_TWO);
	SAME(file_stat("dir/file").st_uid, BOB);
	SAME(file_stat("dir/file").st_mode & 07000, 0);
	SAME(file_stat("dir/link").st_gid, GROUP_TWO);
	SAME(file_stat("dir/sub").st_gid, GROUP_TWO);
	SAME(file_stat("dir/sub").st_mode & 07777, 02755);
}

const struct posix_case posix_access_cases[] = {
	{"classes", classes},
	{"directories", directories},
	{"sticky", sticky},
	{"owners", owners},
	{"set_id_bits", set_id_bits},
	{"group_inheritance", group_inheritance},
	{NULL, NULL},
};
