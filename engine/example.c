/* SPDX-License-Identifier: MIT */
/*
 * example.c - a first program with libkv: counts words, and remembers them.
 *
 *	cc example.c $(pkg-config --cflags --libs libkv) -o words
 *	./words STORE <text
 *
 * Reads words from the standard input, adds to the counts that the store has of them, and prints
 * all it has, in order.
 */
#include <errno.h>
#include <inttypes.h>
#include <kv.h>
#include <stdio.h>
#include <string.h>

enum { WORDS }; /* the keyspaces, by their places in the list below */

static const struct kv_keyspace_spec keyspaces[] = {{.name = "words", .ordered = true}};

static void tell(void *arg, enum kv_severity severity, const char *message)
{
	(void)arg;
	(void)severity;
	fprintf(stderr, "%s\n", message);
}

/* Makes the store if there is none. */
static int open_store(const char *path, struct kv **kv)
{
	const struct kv_create_options create = {
		.keyspaces = keyspaces, .keyspace_count = 1, .segment_size = 1 << 20};
	const struct kv_open_options open = {.report = NULL};
	int error = kv_open(NULL, path, &open, kv);

	if (error != -ENOENT)
		return error;
	error = kv_create(NULL, path, &create, tell, NULL);
	return error ? error : kv_open(NULL, path, &open, kv);
}

/* What a value points to lives until the end of the read section. */
static int count_of(struct kv *kv, const char *word, uint64_t *count)
{
	struct kv_slice value;
	int error;

	*count = 0;
	kv_read_begin(kv);
	error = kv_get(kv, WORDS, word, strlen(word), &value);
	if (!error && value.size == sizeof(*count))
		memcpy(count, value.data, sizeof(*count));
	kv_read_end(kv);
	return error == -ENOENT ? 0 : error;
}

/*
 * Each put is a commit by itself; what belongs together goes into a batch (kv_batch_put,
 * kv_commit).
 */
static int count_words(struct kv *kv, FILE *text)
{
	uint64_t count, seq = 0;
	char word[64];
	int error = 0;

	while (!error && fscanf(text, "%63s", word) == 1) {
		error = count_of(kv, word, &count);
		count++;
		if (!error)
			error = kv_put(kv, WORDS, word, strlen(word), &count, sizeof(count), &seq);
	}
	/* What is committed is visible to everybody; when this returns it is durable as well. */
	return error ? error : kv_sync(kv, seq);
}

static int print_counts(struct kv *kv)
{
	struct kv_cursor *cursor;
	struct kv_slice word, value;
	uint64_t count;
	int error = kv_cursor_open(kv, WORDS, &cursor);

	if (error)
		return error;
	for (error = kv_cursor_first(cursor); !error; error = kv_cursor_next(cursor)) {
		kv_read_begin(kv);
		word = kv_cursor_key(cursor);
		if (!kv_cursor_value(cursor, &value) && value.size == sizeof(count)) {
			memcpy(&count, value.data, sizeof(count));
			printf("%8" PRIu64 " %.*s\n", count, (int)word.size,
			       (const char *)word.data);
		}
		kv_read_end(kv);
	}
	kv_cursor_close(cursor);
	return error == -ENOENT ? 0 : error; /* beyond the last key */
}

int main(int argc, char **argv)
{
	struct kv *kv;
	int error, close_error;

	if (argc != 2) {
		fprintf(stderr, "usage: words STORE <text\n");
		return 2;
	}
	error = open_store(argv[1], &kv);
	if (!error) {
		error = count_words(kv, stdin);
		if (!error)
			error = print_counts(kv);
		close_error = kv_close(kv);
		error = error ? error : close_error;
	}
	if (error)
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-error));
	return error ? 1 : 0;
}
