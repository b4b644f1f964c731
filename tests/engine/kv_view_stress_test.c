/* SPDX-License-Identifier: MIT */
/*
 * kv_view_stress_test.c - writers move amounts between accounts, a batch each, so that the sum over
 * all is the same at every moment; an account with nothing is deleted. Readers open views and
 * snapshots meanwhile, while compaction and sweeping run, and must find the sum by each way of
 * reading, again and again.
 */
#include "kv_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#define ACCOUNTS 150u
#define AMOUNT 6u /* in each at first: many go empty */
#define TOTAL (ACCOUNTS * AMOUNT)
#define TRANSFERS 6000u
#define READERS 3u
#define PADDING 900u /* bytes of a value behind the amount, so that the log turns over */

struct bank {
	struct kv *kv;
	pthread_mutex_t lock; /* of the writers: amounts */
	uint32_t amounts[2][ACCOUNTS];
	atomic_uint writing;
	atomic_uint failures;
};

struct worker {
	struct bank *bank;
	pthread_t thread;
	unsigned number;
};

static void fail_bank(struct bank *bank, const char *what)
{
	if (atomic_fetch_add(&bank->failures, 1) < 5)
		print_error("%s\n", what);
}

static int set_amount(struct kv_batch *batch, unsigned keyspace, uint32_t account, uint32_t amount)
{
	uint32_t value[PADDING / 4] = {amount, account};

	if (!amount)
		return kv_batch_delete(batch, keyspace, &account, sizeof(account));
	return kv_batch_put(batch, keyspace, &account, sizeof(account), value, sizeof(value));
}

static int transfer(struct bank *bank, struct kv_batch *batch, struct sim_random *random)
{
	unsigned keyspace = (unsigned)sim_random_below(random, 2);
	uint32_t from = (uint32_t)sim_random_below(random, ACCOUNTS);
	uint32_t to = (uint32_t)sim_random_below(random, ACCOUNTS);
	uint32_t *amounts = bank->amounts[keyspace], some;
	int result;

	pthread_mutex_lock(&bank->lock);
	some = amounts[from] ? 1 + (uint32_t)sim_random_below(random, amounts[from]) : 0;
	amounts[from] -= some;
	amounts[to] += some;
	result = set_amount(batch, keyspace, from, amounts[from]);
	if (!result)
		result = set_amount(batch, keyspace, to, amounts[to]);
	if (!result)
		result = kv_commit(bank->kv, batch, NULL);
	pthread_mutex_unlock(&bank->lock);
	return result;
}

static void *write_thread(void *arg)
{
	struct worker *worker = arg;
	struct sim_random random = {worker->number};
	struct kv_batch *batch;

	if (kv_batch_new(worker->bank->kv, &batch))
		return NULL;
	for (unsigned i = 0; i < TRANSFERS; i++)
		if (transfer(worker->bank, batch, &random))
			fail_bank(worker->bank, "a transfer failed");
	kv_batch_free(batch);
	atomic_fetch_sub(&worker->bank->writing, 1);
	return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint32_t amount_of(struct bank *bank, struct kv_slice value, uint32_t account)
{
	uint32_t numbers[2];

	if (value.size != PADDING / 4 * 4) {
		fail_bank(bank, "a value is not whole");
		return 0;
	}
	memcpy(numbers, value.data, sizeof(numbers));
	if (numbers[1] != account)
		fail_bank(bank, "a value is another's");
	return numbers[0];
}

static void sum_by_gets(struct bank *bank, const struct kv_view *view, unsigned keyspace)
{
	uint32_t sum = 0;

	for (uint32_t account = 0; account < ACCOUNTS; account++) {
		struct kv_slice value;
		int result;

		kv_read_begin(bank->kv);
		result = kv_view_get(view, keyspace, &account, sizeof(account), &value);
		if (!result)
			sum += amount_of(bank, value, account);
		else if (result != -ENOENT)
			fail_bank(bank, "a get failed");
		kv_read_end(bank->kv);
	}
	if (sum != TOTAL)
		fail_bank(bank, "the sum by gets is wrong");
}

static void sum_by_multi_get(struct bank *bank, const struct kv_view *view, unsigned keyspace)
{
	struct kv_entry entries[ACCOUNTS];
	uint32_t accounts[ACCOUNTS], sum = 0;

	for (uint32_t i = 0; i < ACCOUNTS; i++) {
		accounts[i] = i;
		entries[i].key = (struct kv_slice){&accounts[i], sizeof(accounts[i])};
	}
	kv_read_begin(bank->kv);
	kv_view_multi_get(view, keyspace, entries, ACCOUNTS);
	for (uint32_t i = 0; i < ACCOUNTS; i++)
		if (!entries[i].status)
			sum += amount_of(bank, entries[i].value, i);
	kv_read_end(bank->kv);
	if (sum != TOTAL)
		fail_bank(bank, "the sum by multi-get is wrong");
}

static void sum_by_steps(struct bank *bank, struct kv_cursor *cursor, bool forward)
{
	uint32_t sum = 0, account;
	int result = forward ? kv_cursor_first(cursor) : kv_cursor_last(cursor);

	while (!result) {
		struct kv_slice value;

		memcpy(&account, kv_cursor_key(cursor).data, sizeof(account));
		kv_read_begin(bank->kv);
		if (kv_cursor_value(cursor, &value))
			fail_bank(bank, "a cursor's value is not there");
		else
			sum += amount_of(bank, value, account);
		kv_read_end(bank->kv);
		result = forward ? kv_cursor_next(cursor) : kv_cursor_prev(cursor);
	}
	if (result != -ENOENT || sum != TOTAL)
		fail_bank(
			bank, forward ? "the sum forwards is wrong" : "the sum backwards is wrong");
}

static void sum_by_read(struct bank *bank, struct kv_cursor *cursor)
{
	struct kv_entry entries[40];
	uint32_t sum = 0, account;
	size_t count;
	int result = kv_cursor_first(cursor);

	while (!result) {
		kv_read_begin(bank->kv);
		result = kv_cursor_read(cursor, entries, 40, &count);
		for (size_t i = 0; !result && i < count; i++) {
			memcpy(&account, entries[i].key.data, sizeof(account));
			if (entries[i].status)
				fail_bank(bank, "an entry cannot be read");
			else
				sum += amount_of(bank, entries[i].value, account);
		}
		kv_read_end(bank->kv);
	}
	if (result != -ENOENT || sum != TOTAL)
		fail_bank(bank, "the sum by reading along is wrong");
}

static void sum_by_iterator(struct bank *bank, const struct kv_view *view, unsigned keyspace)
{
	struct kv_iterator *iterator;
	const struct kv_entry *entries;
	uint32_t sum = 0, account;
	size_t count;
	int result;

	if (kv_iterator_open_view(view, keyspace, 0, &iterator)) {
		fail_bank(bank, "no iterator");
		return;
	}
	do {
		kv_read_begin(bank->kv);
		result = kv_iterator_read(iterator, &entries, &count);
		for (size_t i = 0; !result && i < count; i++) {
			memcpy(&account, entries[i].key.data, sizeof(account));
			sum += amount_of(bank, entries[i].value, account);
		}
		kv_read_end(bank->kv);
	} while (!result);
	kv_iterator_close(iterator);
	if (sum != TOTAL)
		fail_bank(bank, "the sum by iterating is wrong");
}

static int note_account(void *arg, struct kv_slice key)
{
	bool *changed = arg;
	uint32_t account;

	if (key.size != sizeof(account))
		return -EPROTO;
	memcpy(&account, key.data, sizeof(account));
	if (account >= ACCOUNTS)
		return -EPROTO;
	changed[account] = true;
	return 0;
}

/* Accounts that are not said to have changed have what they had. */
static void compare_changes(struct bank *bank, const struct kv_view *view, unsigned keyspace)
{
	bool changed[ACCOUNTS] = {false};
	struct kv_view *later;

	if (kv_view_open(bank->kv, &later)) {
		fail_bank(bank, "a view cannot be opened");
		return;
	}
	if (kv_view_changes(view, later, keyspace, note_account, changed))
		fail_bank(bank, "what changed cannot be told");
	for (uint32_t account = 0; account < ACCOUNTS; account++) {
		struct kv_slice value;
		uint32_t was = 0;
		int result;

		if (changed[account])
			continue;
		kv_read_begin(bank->kv);
		result = kv_view_get(view, keyspace, &account, sizeof(account), &value);
		if (!result)
			was = amount_of(bank, value, account);
		if (!result && (kv_view_get(later, keyspace, &account, sizeof(account), &value) ||
				       amount_of(bank, value, account) != was))
			fail_bank(bank, "an account has changed in silence");
		kv_read_end(bank->kv);
	}
	kv_view_close(later);
}

static void read_view(struct bank *bank, const struct kv_view *view)
{
	struct kv_cursor *cursor;

	for (unsigned keyspace = 0; keyspace < 2; keyspace++) {
		sum_by_gets(bank, view, keyspace);
		sum_by_multi_get(bank, view, keyspace);
		sum_by_iterator(bank, view, keyspace);
		compare_changes(bank, view, keyspace);
	}
	if (kv_cursor_open_view(view, ORDERED, &cursor)) {
		fail_bank(bank, "no cursor");
		return;
	}
	sum_by_steps(bank, cursor, true);
	sum_by_steps(bank, cursor, false);
	sum_by_read(bank, cursor);
	kv_cursor_close(cursor);
}

static void read_snapshot(struct bank *bank, unsigned number)
{
	struct kv_view *view;
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	if (kv_snapshot_create(bank->kv, name, NULL) || kv_snapshot_open(bank->kv, name, &view)) {
		fail_bank(bank, "no snapshot");
		return;
	}
	read_view(bank, view);
	if (number % 2)
		kv_view_close(view);
	if (kv_snapshot_delete(bank->kv, name, NULL))
		fail_bank(bank, "a snapshot cannot be deleted");
	if (number % 2 == 0) {
		read_view(bank, view);
		kv_view_close(view);
	}
}

static void *read_thread(void *arg)
{
	struct worker *worker = arg;
	struct bank *bank = worker->bank;
	struct kv_view *view;

	for (unsigned i = 0; i < 2 || atomic_load(&bank->writing); i++) {
		if (i % 4 == 3) {
			read_snapshot(bank, worker->number);
			continue;
		}
		if (kv_view_open(bank->kv, &view)) {
			fail_bank(bank, "no view");
			return NULL;
		}
		read_view(bank, view);
		kv_view_close(view);
	}
	return NULL;
}

static void test_sums(void **state)
{
	struct fixture *fixture = *state;
	static struct bank bank;
	struct worker workers[2 + READERS];
	struct kv_prune_options options = {.garbage_percent = 5};
	struct kv_batch *batch;
	struct kv_stats stats;

	memset(&bank, 0, sizeof(bank));
	bank.kv = fixture->kv;
	pthread_mutex_init(&bank.lock, NULL);
	assert_int_equal(kv_batch_new(bank.kv, &batch), 0);
	for (uint32_t i = 0; i < 2 * ACCOUNTS; i++) {
		bank.amounts[i % 2][i / 2] = AMOUNT;
		assert_int_equal(set_amount(batch, i % 2, i / 2, AMOUNT), 0);
	}
	assert_int_equal(kv_commit(bank.kv, batch, NULL), 0);
	kv_batch_free(batch);
	assert_int_equal(kv_snapshot_create(bank.kv, "lasting", NULL), 0);
	atomic_store(&bank.writing, 2);
	for (unsigned i = 0; i < 2 + READERS; i++) {
		workers[i] = (struct worker){.bank = &bank, .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL,
					 i < 2 ? write_thread : read_thread, &workers[i]),
			0);
	}
	while (atomic_load(&bank.writing))
		assert_int_equal(kv_prune(bank.kv, &options, NULL, NULL, NULL), 0);
	for (unsigned i = 0; i < 2 + READERS; i++)
		pthread_join(workers[i].thread, NULL);
	assert_int_equal(bank.failures, 0);
	assert_int_equal(kv_prune(bank.kv, &options, NULL, NULL, NULL), 0);
	must_check_clean(fixture);
	kv_stats(bank.kv, &stats);
	assert_int_equal(stats.views, 0);
	/* Every account of the first moment at most, and no more. */
	assert_true(stats.versions > 0 && stats.versions <= 2 * ACCOUNTS);
	assert_int_equal(kv_snapshot_delete(bank.kv, "lasting", NULL), 0);
	assert_int_equal(kv_prune(bank.kv, &options, NULL, NULL, NULL), 0);
	kv_stats(bank.kv, &stats);
	assert_int_equal(stats.versions, 0);
	pthread_mutex_destroy(&bank.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
