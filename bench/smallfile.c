/* SPDX-License-Identifier: MIT */
/*
 * smallfile - what many small files cost on a mounted file system
 *
 * Every thread works in a directory of its own, through phases that all threads begin together:
 *
 *	create     open(O_CREAT|O_EXCL), write, close
 *	stat       of each file, dentries and inodes dropped
 *	read       open, read, close, page cache dropped as well
 *	list       readdir of the directory, all caches dropped; counted per entry
 *	overwrite  open, write, close, all caches dropped
 *	rename     within the directory, dentries and inodes dropped
 *	unlink     all caches dropped
 *	durable    create, write, fsync, close (only with -d, and then nothing else)
 *
 * Dropped are the kernel's caches in front of the file system; it takes root. A line per phase:
 *
 *	phase  threads  operations/s  p50 us  p99 us  p99.9 us  daemon's CPU us per operation
 *
 * The last is 0 without -p.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define DROP_INODES "2" /* values of /proc/sys/vm/drop_caches */
#define DROP_ALL "3"

struct worker {
	pthread_t thread;
	int dir; /* the worker's directory */
	unsigned int files;
	uint64_t *latency_ns; /* per operation of the phase */
	size_t operations;    /* that the phase did */
	const struct phase *phase;
	uint64_t end_ns;
};

struct phase {
	const char *name;
	const char *drop; /* NULL: warm */
	void (*run)(struct worker *worker);
};

static size_t file_size = 1024;
static char *contents;
static pthread_barrier_t barrier;

static void die(const char *what)
{
	fprintf(stderr, "smallfile: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void name_make(char *name, unsigned int file)
{
	sprintf(name, "file-%08u", file);
}

static void write_all(int fd)
{
	if (write(fd, contents, file_size) != (ssize_t)file_size)
		die("write");
}

static void file_create(struct worker *worker, const char *name)
{
	int fd = openat(worker->dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0)
		die("create");
	write_all(fd);
	close(fd);
}

static void file_create_durable(struct worker *worker, const char *name)
{
	int fd = openat(worker->dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0)
		die("create");
	write_all(fd);
	if (fsync(fd))
		die("fsync");
	close(fd);
}

static void file_stat(struct worker *worker, const char *name)
{
	struct stat attr;

	if (fstatat(worker->dir, name, &attr, 0))
		die("stat");
	if (attr.st_size != (off_t)file_size) {
		fprintf(stderr, "smallfile: %s has %lld bytes\n", name, (long long)attr.st_size);
		exit(1);
	}
}

static void file_read(struct worker *worker, const char *name)
{
	char buf[65536];
	int fd = openat(worker->dir, name, O_RDONLY);

	if (fd < 0)
		die("open");
	if (read(fd, buf, file_size) != (ssize_t)file_size)
		die("read");
	close(fd);
}

static void file_overwrite(struct worker *worker, const char *name)
{
	int fd = openat(worker->dir, name, O_WRONLY);

	if (fd < 0)
		die("open");
	write_all(fd);
	close(fd);
}

static void file_rename(struct worker *worker, const char *name)
{
	char renamed[64];

	snprintf(renamed, sizeof(renamed), "x%s", name);
	if (renameat(worker->dir, name, worker->dir, renamed))
		die("rename");
}

static void file_unlink(struct worker *worker, const char *name)
{
	if (unlinkat(worker->dir, name, 0))
		die("unlink");
}

static void file_unlink_renamed(struct worker *worker, const char *name)
{
	char renamed[64];

	snprintf(renamed, sizeof(renamed), "x%s", name);
	file_unlink(worker, renamed);
}

static void files_each(struct worker *worker, void (*operation)(struct worker *, const char *))
{
	uint64_t before = now_ns(), after;
	unsigned int file;
	char name[32];

	for (file = 0; file < worker->files; file++) {
		name_make(name, file);
		operation(worker, name);
		after = now_ns();
		worker->latency_ns[file] = after - before;
		before = after;
	}
	worker->operations = worker->files;
}

static void phase_create(struct worker *worker)
{
	files_each(worker, file_create);
}
static void phase_durable(struct worker *worker)
{
	files_each(worker, file_create_durable);
}
static void phase_stat(struct worker *worker)
{
	files_each(worker, file_stat);
}
static void phase_read(struct worker *worker)
{
	files_each(worker, file_read);
}
static void phase_overwrite(struct worker *worker)
{
	files_each(worker, file_overwrite);
}
static void phase_rename(struct worker *worker)
{
	files_each(worker, file_rename);
}
static void phase_unlink(struct worker *worker)
{
	files_each(worker, file_unlink_renamed);
}
static void phase_clean(struct worker *worker)
{
	files_each(worker, file_unlink);
}

static void phase_list(struct worker *worker)
{
	uint64_t before = now_ns(), elapsed;
	int fd = openat(worker->dir, ".", O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t entries = 0, i;

	if (!dir)
		die("list");
	while (readdir(dir))
		entries++;
	closedir(dir);
	if (entries != worker->files + 2) {
		fprintf(stderr, "smallfile: listed %zu entries of %u\n", entries,
			worker->files + 2);
		exit(1);
	}
	elapsed = now_ns() - before;
	worker->operations = worker->files;
	for (i = 0; i < worker->operations; i++)
		worker->latency_ns[i] = elapsed / worker->operations;
}

static const struct phase phases_usual[] = {
	{"create", NULL, phase_create},
	{"stat", DROP_INODES, phase_stat},
	{"read", DROP_ALL, phase_read},
	{"list", DROP_ALL, phase_list},
	{"overwrite", DROP_ALL, phase_overwrite},
	{"rename", DROP_INODES, phase_rename},
	{"unlink", DROP_ALL, phase_unlink},
	{NULL, NULL, NULL},
};

static const struct phase phases_durable[] = {
	{"durable", NULL, phase_durable},
	{NULL, NULL, phase_clean}, /* not counted */
	{NULL, NULL, NULL},
};

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(&barrier);
	worker->phase->run(worker);
	worker->end_ns = now_ns();
	return NULL;
}

static void caches_drop(int dir, const char *what)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	/* what is dirty cannot be dropped */
	if (syncfs(dir))
		die("syncfs");
	if (fd < 0 || write(fd, what, strlen(what)) < 0)
		die("/proc/sys/vm/drop_caches");
	close(fd);
}

/* CPU time of all threads of a process, ns; 0 if there is no such process */
static uint64_t process_cpu_ns(pid_t pid)
{
	char path[320];
	struct dirent *entry;
	uint64_t total = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = pid ? opendir(path) : NULL;
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		unsigned long long ns = 0;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &ns) == 1)
			total += ns;
		fclose(file);
	}
	closedir(dir);
	return total;
}

static int latency_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void phase_run(const struct phase *phase, struct worker *workers, unsigned int threads,
	int dir, pid_t daemon_pid, uint64_t *all)
{
	uint64_t start, end = 0, cpu;
	size_t operations = 0;
	unsigned int i;

	if (phase->drop)
		caches_drop(dir, phase->drop);
	pthread_barrier_init(&barrier, NULL, threads + 1);
	for (i = 0; i < threads; i++) {
		workers[i].phase = phase;
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]))
			die("pthread_create");
	}
	cpu = process_cpu_ns(daemon_pid);
	start = now_ns();
	pthread_barrier_wait(&barrier);
	for (i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		memcpy(all + operations, workers[i].latency_ns,
			workers[i].operations * sizeof(*all));
		operations += workers[i].operations;
		if (workers[i].end_ns > end)
			end = workers[i].end_ns;
	}
	cpu = process_cpu_ns(daemon_pid) - cpu;
	pthread_barrier_destroy(&barrier);
	if (!phase->name || !operations)
		return;
	qsort(all, operations, sizeof(*all), latency_compare);
	printf("%s\t%u\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\n", phase->name, threads,
		(double)operations * 1e9 / (double)(end - start), (double)all[operations / 2] / 1e3,
		(double)all[operations - 1 - operations / 100] / 1e3,
		(double)all[operations - 1 - operations / 1000] / 1e3,
		(double)cpu / 1e3 / (double)operations);
	fflush(stdout);
}

static void usage(void)
{
	fprintf(stderr,
		"usage: smallfile [-d] [-n FILES] [-s SIZE] [-t THREADS] [-p DAEMON_PID] DIR\n"
		"  FILES is the number for all threads together\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const struct phase *phase = phases_usual;
	struct worker workers[THREADS_MAX];
	unsigned int files = 20000, threads = 1, i;
	pid_t daemon_pid = 0;
	uint64_t *all;
	char name[32];
	int opt, dir;

	while ((opt = getopt(argc, argv, "dn:s:t:p:")) != -1) {
		switch (opt) {
		case 'd':
			phase = phases_durable;
			break;
		case 'n':
			files = (unsigned int)atoi(optarg);
			break;
		case 's':
			file_size = (size_t)atoi(optarg);
			break;
		case 't':
			threads = (unsigned int)atoi(optarg);
			break;
		case 'p':
			daemon_pid = atoi(optarg);
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1 || !threads || threads > THREADS_MAX || files < threads ||
		!file_size || file_size > 65536)
		usage();

	contents = malloc(file_size);
	all = malloc(files * sizeof(*all));
	if (!contents || !all)
		die("memory");
	for (i = 0; i < file_size; i++)
		contents[i] = (char)('a' + i % 26);

	dir = open(argv[optind], O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		die(argv[optind]);
	for (i = 0; i < threads; i++) {
		snprintf(name, sizeof(name), "thread-%u", i);
		if (mkdirat(dir, name, 0755))
			die(name);
		workers[i].dir = openat(dir, name, O_RDONLY | O_DIRECTORY);
		workers[i].files = files / threads;
		workers[i].latency_ns = malloc(files / threads * sizeof(*all));
		if (workers[i].dir < 0 || !workers[i].latency_ns)
			die(name);
	}
	for (; phase->run; phase++)
		phase_run(phase, workers, threads, dir, daemon_pid, all);
	for (i = 0; i < threads; i++) {
		snprintf(name, sizeof(name), "thread-%u", i);
		close(workers[i].dir);
		if (unlinkat(dir, name, AT_REMOVEDIR))
			die(name);
		free(workers[i].latency_ns);
	}
	free(all);
	free(contents);
	close(dir);
	return 0;
}
