/* SPDX-License-Identifier: MIT */
/*
 * kv_faults_test.c - calls that fail while a store is made, repaired or checked: the caller gets an
 * error, or the result is right; nothing is worse than before, nothing stays open, and the same
 * again, undisturbed, ends as well as if nothing had failed.
 *
 *	kv_faults_test KIND
 */
#include "damage_store.h"
#include "fault_sweep.h"

#define MOST 1u /* of each kind of call, error and damage */

static const struct damage_kind *kind; /* of which the stores are */

/* One damaged store, and what became of it without a fault. */
struct subject {
	struct damage_store store;
	void (*damage)(struct subject *subject, struct sim_env *sim);
	int opened;		    /* read-only, before a repair */
	struct damage_seen before;  /* if it opened */
	uint64_t findings;	    /* of a check of that */
	struct damage_seen after;   /* a repair */
	uint64_t remaining;
};

/* ---- damage ---------------------------------------------------------------------------------- */

static void flip(struct subject *subject, struct sim_env *sim, const char *name, uint64_t at)
{
	assert_int_equal(sim_env_flip(sim, name, at, at % 8), 0);
}

static void damage_nothing(struct subject *subject, struct sim_env *sim)
{
}

static void damage_super(struct subject *subject, struct sim_env *sim)
{
	flip(subject, sim, FORMAT_SUPER_NAME, 100);
}

static void damage_manifest(struct subject *subject, struct sim_env *sim)
{
	flip(subject, sim, FORMAT_MANIFEST_NAME, 9);
}

static void damage_header(struct subject *subject, struct sim_env *sim)
{
	const struct store_image_file *file = subject->store.image.files;

	while (format_segment_slot(file->name) < 0)
		file++;
	flip(subject, sim, file->name, 40);
}

static void note_record(void *arg, const struct store_image_record *at)
{
	const struct store_image_record **records = arg;
	static struct store_image_record kept;

	if (format_record_is_bare(at->record) || *records)
		return;
	kept = *at;
	*records = &kept;
}

/* A record in the first segment: the others are to be moved. */
static void damage_record(struct subject *subject, struct sim_env *sim)
{
	const struct store_image_record *found = NULL;
	char name[FORMAT_SEGMENT_NAME_SIZE];

	store_image_records(&subject->store.image, note_record, &found);
	assert_non_null(found);
	format_segment_name(found->slot, name);
	flip(subject, sim, name, found->offset + found->length - 9);
}

static const struct store_image_file *newest_segment(const struct subject *subject)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];

	format_segment_name(subject->store.last_slot, name);
	return store_image_find(&subject->store.image, name);
}

static void damage_size(struct subject *subject, struct sim_env *sim)
{
	const struct store_image_file *file = newest_segment(subject);

	assert_int_equal(sim_env_resize(sim, file->name, file->used + 100), 0);
}

static void unlink_file(struct sim_env *sim, const char *name)
{
	struct kv_env *env = sim_env_table(sim);
	struct env_dir *dir;

	assert_int_equal(env->dir_open(env, DAMAGE_PATH, &dir), 0);
	assert_int_equal(env->unlink(dir, name), 0);
	assert_int_equal(env->dir_sync(dir), 0);
	env->dir_close(dir);
}

static void damage_no_super(struct subject *subject, struct sim_env *sim)
{
	unlink_file(sim, FORMAT_SUPER_NAME);
}

/* Under a wrong name, with a copy of its own beside it. */
static void damage_name(struct subject *subject, struct sim_env *sim)
{
	const struct store_image_file *file = newest_segment(subject);

	assert_int_equal(sim_env_put_file(sim, "seg-00000055", file->bytes, file->size), 0);
	assert_int_equal(sim_env_put_file(sim, "seg-00000056", file->bytes, file->size), 0);
	unlink_file(sim, file->name);
}

/* Nobody knows any more what it was. */
static void damage_headers(struct subject *subject, struct sim_env *sim)
{
	static const uint8_t zeros[FORMAT_SEGMENT_HEADER_SIZE];

	assert_int_equal(sim_env_put_file(sim, "seg-00000055", zeros, sizeof(zeros)), 0);
}

static void damage_checkpoint(struct subject *subject, struct sim_env *sim)
{
	if (store_image_find(&subject->store.image, FORMAT_CHECKPOINT_NAME))
		flip(subject, sim, FORMAT_CHECKPOINT_NAME, 5000);
}

static void damage_all(struct subject *subject, struct sim_env *sim)
{
	damage_super(subject, sim);
	damage_manifest(subject, sim);
	damage_headers(subject, sim);
	damage_header(subject, sim);
	damage_record(subject, sim);
	damage_checkpoint(subject, sim);
	damage_size(subject, sim);
}

/* ---- judging --------------------------------------------------------------------------------- */

static int open_store(struct fixture *fixture, unsigned flags)
{
	struct kv_open_options options = {.flags = flags, .resident_size = 1};

	return kv_open(fixture->env, DAMAGE_PATH, &options, &fixture->kv);
}

static void mount_damaged(struct fixture *fixture, struct subject *subject)
{
	*fixture = (struct fixture){.sim = store_image_mount(&subject->store.image, DAMAGE_PATH)};
	fixture->env = sim_env_table(fixture->sim);
	subject->damage(subject, fixture->sim);
}

static void unmount(struct fixture *fixture)
{
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_free(fixture->sim);
}

static void count_finding(void *arg, enum kv_severity severity, const char *message)
{
}

static void look_before(struct fixture *fixture, struct subject *subject)
{
	subject->opened = open_store(fixture, KV_OPEN_READ_ONLY);
	if (subject->opened)
		return;
	damage_look(&subject->store, fixture, &subject->before);
	assert_int_equal(
		kv_check(fixture->kv, count_finding, NULL, NULL, NULL, &subject->findings), 0);
	must_close(fixture);
}

/* Opens as before, and shows no less. */
static void must_not_be_worse(
	struct fixture *fixture, struct subject *subject, const struct damage_said *said)
{
	struct damage_seen seen;
	int opened = open_store(fixture, KV_OPEN_READ_ONLY);

	if (opened && !subject->opened)
		fail_msg("after a repair that failed the store opens no more: %s; said last: %s",
			strerror(-opened), said->last);
	if (opened)
		return;
	damage_look(&subject->store, fixture, &seen);
	must_close(fixture);
	if (!subject->opened)
		damage_must_not_be_worse(&subject->store, &subject->before, &seen, said);
}

/* An undisturbed repair has come to its end. */
static void judge_end(
	struct fixture *fixture, struct subject *subject, const struct kv_repair_report *report)
{
	struct damage_seen seen;
	uint64_t findings;

	assert_int_equal(report->remaining, subject->remaining);
	assert_int_equal(open_store(fixture, KV_OPEN_INLINE), 0);
	damage_look(&subject->store, fixture, &seen);
	assert_memory_equal(&seen, &subject->after, sizeof(seen));
	assert_int_equal(
		kv_check(fixture->kv, count_finding, NULL, NULL, NULL, &findings), 0);
	assert_int_equal(findings, subject->remaining);
	must_put(fixture, HASHED, "new", "value");
	must_close(fixture);
}

static void note_end(
	struct fixture *fixture, struct subject *subject, const struct kv_repair_report *report)
{
	subject->remaining = report->remaining;
	assert_int_equal(open_store(fixture, KV_OPEN_READ_ONLY), 0);
	damage_look(&subject->store, fixture, &subject->after);
	must_close(fixture);
}

/* What is wanting for a moment says nothing of the store. more: findings than undisturbed */
static void must_not_be_blamed(const struct fault *fault, int result, bool more)
{
	if (!fault->nth || (fault->error != -ENOMEM && fault->error != -EMFILE))
		return;
	if (result == -EMEDIUMTYPE)
		fail_msg("%s: that it is no store is said", strerror(-fault->error));
	if (!result && more)
		fail_msg("%s: that it is damaged is said", strerror(-fault->error));
}

/* ---- repair ---------------------------------------------------------------------------------- */

static void repair_with(void *arg, const struct fault *fault)
{
	struct damage_said said = {.segment_size = SEGMENT_SIZE};
	struct kv_repair_report report;
	struct subject *subject = arg;
	struct fixture fixture;
	int result;
	bool came;

	mount_damaged(&fixture, subject);
	if (!fault->nth)
		look_before(&fixture, subject);
	fault_begin(fixture.sim, fault);
	result = kv_repair(fixture.env, DAMAGE_PATH, damage_hear, &said, &report);
	came = fault_end(fixture.sim, fault);
	if (result && !came)
		fail_msg("a repair failed without cause: %s; %s", strerror(-result), said.last);
	must_not_be_blamed(fault, result, !result && report.remaining > subject->remaining);
	assert_int_equal(sim_env_opens(fixture.sim), 0);
	if (!fault->nth)
		note_end(&fixture, subject, &report);
	/* Half of the time the power fails behind it. */
	if (result && fault->nth % 2)
		assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_ANY), 0);
	/* What the check at its end could not read is what the caller is told of. */
	if (result || (came && report.remaining > subject->remaining)) {
		must_not_be_worse(&fixture, subject, &said);
		said = (struct damage_said){.segment_size = SEGMENT_SIZE};
		result = kv_repair(fixture.env, DAMAGE_PATH, damage_hear, &said, &report);
		if (result)
			fail_msg("a second repair fails: %s; %s", strerror(-result), said.last);
	}
	judge_end(&fixture, subject, &report);
	unmount(&fixture);
}

/* ---- check ----------------------------------------------------------------------------------- */

/* Opened to be read, and checked: an error, or no finding is missed. */
static void check_with(void *arg, const struct fault *fault)
{
	struct subject *subject = arg;
	uint64_t findings = 0;
	struct fixture fixture;
	int result, closed = 0;
	bool came;

	mount_damaged(&fixture, subject);
	fault_begin(fixture.sim, fault);
	result = open_store(&fixture, KV_OPEN_READ_ONLY);
	if (!result) {
		result = kv_check(fixture.kv, count_finding, NULL, NULL, NULL, &findings);
		closed = kv_close(fixture.kv);
	}
	came = fault_end(fixture.sim, fault);
	if (result && !came && result != subject->opened)
		fail_msg("a check failed without cause: %s", strerror(-result));
	must_not_be_blamed(fault, result, findings > subject->findings);
	assert_int_equal(closed, 0);
	assert_int_equal(sim_env_opens(fixture.sim), 0);
	assert_true(result || findings > 0 || !subject->findings);
	assert_true(result || came || findings == subject->findings);
	look_before(&fixture, subject);
	unmount(&fixture);
}

/* ---- making one ------------------------------------------------------------------------------ */

static int make_and_open(struct fixture *fixture)
{
	struct kv_create_options create = fixture_create_options;
	int result;

	create.segment_size = 0; /* as there is space */
	result = kv_create(fixture->env, DAMAGE_PATH, &create, NULL, NULL);
	return result ? result : open_store(fixture, KV_OPEN_INLINE);
}

/* What a failure leaves is nothing, or a store that opens. */
static void make_with(void *arg, const struct fault *fault)
{
	const struct sim_options options = {
		.seed = 9, .capacity = 256 << 20, .file_size_max = 32 << 20};
	struct fixture fixture = {0};
	int result;
	bool came;

	assert_int_equal(sim_env_new(&options, &fixture.sim), 0);
	fixture.env = sim_env_table(fixture.sim);
	fault_begin(fixture.sim, fault);
	result = make_and_open(&fixture);
	came = fault_end(fixture.sim, fault);
	if (result && !came)
		fail_msg("a store was not made, without cause: %s", strerror(-result));
	if (result) {
		assert_int_equal(sim_env_opens(fixture.sim), 0);
		result = make_and_open(&fixture);
		if (result == -EEXIST)
			result = open_store(&fixture, KV_OPEN_INLINE);
		if (result)
			fail_msg("making it again, or opening it, fails: %s", strerror(-result));
	}
	must_put(&fixture, HASHED, "new", "value");
	must_close(&fixture);
	assert_int_equal(sim_env_power_on(fixture.sim, SIM_LOSS_ALL), 0);
	assert_int_equal(open_store(&fixture, KV_OPEN_INLINE), 0);
	must_have(&fixture, HASHED, "new", "value");
	must_check_clean(&fixture);
	must_close(&fixture);
	unmount(&fixture);
}

static void test_make(void **state)
{
	assert_true(fault_sweep("making", full_or_quick(20, 4), make_with, NULL) > 20);
}

/* ---- each damage ----------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*damage)(struct subject *subject, struct sim_env *sim);
} damages[] = {
	{"sound", damage_nothing},
	{"superblock", damage_super},
	{"no superblock", damage_no_super},
	{"manifest", damage_manifest},
	{"header", damage_header},
	{"record", damage_record},
	{"size", damage_size},
	{"name", damage_name},
	{"both headers", damage_headers},
	{"checkpoint", damage_checkpoint},
	{"much", damage_all},
};

#define DAMAGES (sizeof(damages) / sizeof(damages[0]))

static void sweep_all(fault_try_fn *work)
{
	static struct subject subject;
	unsigned failed = 0;

	damage_store_make(&subject.store, kind);
	for (unsigned i = 0; i < DAMAGES; i += full_or_quick(1, 4)) {
		struct fixture fixture;

		subject.damage = damages[i].damage;
		mount_damaged(&fixture, &subject);
		look_before(&fixture, &subject);
		unmount(&fixture);
		failed += fault_sweep(damages[i].name, MOST, work, &subject);
	}
	print_message("%s: %u calls failed\n", kind->name, failed);
	assert_true(failed > 50);
	damage_store_free(&subject.store);
}

static void test_repair(void **state)
{
	sweep_all(repair_with);
}

static void test_check(void **state)
{
	sweep_all(check_with);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_make, fault_sweep_say),
		cmocka_unit_test_teardown(test_repair, fault_sweep_say),
		cmocka_unit_test_teardown(test_check, fault_sweep_say),
	};

	kind = damage_kind_named(argc > 1 ? argv[1] : "plain");
	return cmocka_run_group_tests_name(kind->name, tests, NULL, NULL);
}
