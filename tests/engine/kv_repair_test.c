/* SPDX-License-Identifier: MIT */
/*
 * kv_repair_test.c - small stores of several kinds, damaged byte by byte and cut off anywhere: what
 * is damaged is said, everything else stays readable, what is gone was named, by segment and
 * offset, a repair brings back what can be, makes nothing worse, and has nothing to do the second
 * time.
 *
 *	kv_repair_test KIND [TEST]
 *
 * Bytes and sizes here and there; with KVFS_TEST_LONG in the environment every single one, bytes in
 * two ways, with KVFS_TEST_QUICK fewer.
 */
#include "damage_store.h"

#define LONG (getenv("KVFS_TEST_LONG") != NULL)

static const struct damage_kind *kind; /* of which the stores are */

/* What is being damaged, for who has to repeat it. */
static struct where {
	const char *name;
	uint64_t at;
	unsigned bits;
} where;

/* ---- where -------------------------------------------------------------------------------- */

/* The next byte to be damaged. */
static uint64_t next_place(const struct store_image_file *file, uint64_t at)
{
	/* Headers and the like closely, long stretches of records less so. */
	if (!LONG)
		return at + (at < 100           ? 8
				    : at < 8192 ? 1201
						: file->used / 8 + 401) *
				    full_or_quick(1, 20);
	return store_image_next(file, at);
}

/* Which bits of it: one, or all of them. */
static unsigned bits_at(uint64_t at)
{
	return at % 9 == 8 ? 0xff : 1u << at % 9;
}

static void flip(struct sim_env *sim, const char *name, uint64_t at, unsigned bits)
{
	for (unsigned bit = 0; bit < 8; bit++) {
		if (bits >> bit & 1)
			assert_int_equal(sim_env_flip(sim, name, at, bit), 0);
	}
}

static bool is_segment(const struct store_image_file *file)
{
	return format_segment_slot(file->name) >= 0;
}

static const struct store_image_file *first_segment(const struct damage_store *store)
{
	const struct store_image_file *file = store->image.files;

	while (!is_segment(file))
		file++;
	return file;
}

static bool is_super(const struct store_image_file *file)
{
	return strcmp(file->name, FORMAT_SUPER_NAME) == 0;
}

static bool is_snapshots(const struct store_image_file *file)
{
	return strcmp(file->name, FORMAT_SNAPSHOTS_NAME) == 0;
}

static bool is_manifest(const struct store_image_file *file)
{
	return strcmp(file->name, FORMAT_MANIFEST_NAME) == 0;
}

/* Behind the last entry of a copy of the manifest nothing counts. */
static bool counts(const struct store_image_file *manifest, uint64_t at)
{
	const struct format_manifest *header = (const void *)manifest->bytes;

	return at % FORMAT_MANIFEST_PAGE_SIZE <
	       sizeof(*header) + header->count * sizeof(struct format_manifest_entry);
}

static void mount_image(struct fixture *fixture, const struct damage_store *store)
{
	*fixture = (struct fixture){.sim = store_image_mount(&store->image, DAMAGE_PATH)};
	fixture->env = sim_env_table(fixture->sim);
}

static void unmount(struct fixture *fixture)
{
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_free(fixture->sim);
	fixture->sim = NULL;
	where.name = NULL; /* nothing failed */
}

/* ---- judging ------------------------------------------------------------------------------ */

/* What must come of damage. */
struct fate {
	bool copy;         /* opening says so: there is another, and a power failure may do it */
	bool said;         /* in any case, not only where something is missing */
	bool interrupted;  /* a repair was, which may have said it, and lost it, before */
	unsigned lost_max; /* keys, in each view */
};

static void open_and_hear(struct fixture *fixture, unsigned flags, struct damage_said *said)
{
	struct kv_open_options options = {
		.flags = flags, .resident_size = 1, .report = damage_hear, .report_arg = said};

	*said = (struct damage_said){.segment_size = SEGMENT_SIZE};
	assert_int_equal(kv_open(fixture->env, DAMAGE_PATH, &options, &fixture->kv), 0);
}

struct finding_count {
	struct damage_said *said;
	uint64_t count;
};

static void hear_finding(void *arg, enum kv_severity severity, const char *message)
{
	struct finding_count *findings = arg;

	findings->count++;
	damage_hear(findings->said, severity, message);
}

/* Beside what the opening has said. */
static uint64_t findings_of(struct fixture *fixture, struct damage_said *said)
{
	struct finding_count heard = {.said = said};
	uint64_t findings;

	assert_int_equal(kv_check(fixture->kv, hear_finding, &heard, NULL, NULL, &findings), 0);
	assert_int_equal(heard.count, findings);
	return findings;
}

static void repair(
	struct fixture *fixture, struct kv_repair_report *report, struct damage_said *said)
{
	*said = (struct damage_said){.segment_size = SEGMENT_SIZE};
	assert_int_equal(kv_repair(fixture->env, DAMAGE_PATH, damage_hear, said, report), 0);
	assert_true(!report->mended || said->count > 0);
	/* What is counted is what was named, but for zeros that a record, or its header, may end in. */
	assert_in_range(
		damage_lost_bytes(said) - report->lost_bytes, 0, FORMAT_RECORD_HEADER_SIZE - 1);
}

/*
 * What a damaged store must be like, before its repair and after. Out: what the repair said, and
 * what is missing after it
 */
static void judge(const struct damage_store *store, struct fixture *fixture,
	const struct fate *fate, struct damage_said *said, struct damage_seen *after)
{
	struct kv_repair_report first, second;
	struct damage_seen before, seen;
	struct damage_said heard;
	uint64_t findings;

	open_and_hear(fixture, KV_OPEN_READ_ONLY, &heard);
	damage_look(store, fixture, &before);
	findings = findings_of(fixture, &heard);
	assert_true(!fate->said || findings > 0);
	/* What opening knows a check knows. */
	if (fate->copy)
		assert_true(heard.count > 0);
	else if (heard.count && !findings && !heard.snapshot_lost)
		fail_msg("opening says \"%s\", and a check finds nothing", heard.last);
	if (!fate->interrupted) {
		assert_true(before.missing <= fate->lost_max);
		damage_must_be_said(store, &before, &heard, false);
	}
	must_close(fixture);

	repair(fixture, &first, said);
	assert_true(!findings || first.mended || first.remaining);
	assert_true(!fate->copy || first.mended == 1);
	/* What it has done is durable. */
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	open_and_hear(fixture, KV_OPEN_INLINE, &heard);
	damage_look(store, fixture, after);
	damage_must_not_be_worse(store, &before, after, said);
	assert_true(after->missing <= fate->lost_max);
	if (!fate->interrupted)
		damage_must_be_said(store, after, said, true);
	assert_int_equal(findings_of(fixture, &heard), first.remaining);
	must_put(fixture, HASHED, "new", "value");
	must_close(fixture);

	repair(fixture, &second, &heard);
	assert_int_equal(second.mended, 0);
	assert_int_equal(second.remaining, first.remaining);
	open_and_hear(fixture, KV_OPEN_INLINE, &heard);
	damage_look(store, fixture, &seen);
	assert_memory_equal(&seen, after, sizeof(seen));
	must_have(fixture, HASHED, "new", "value");
	must_close(fixture);
}

/* What may be missing where this byte is damaged. */
struct hit {
	const struct damage_store *store;
	uint32_t slot;
	uint64_t at;
	unsigned lost_max; /* keys, in each view */
};

static void note_hit(void *arg, const struct store_image_record *at)
{
	struct hit *hit = arg;
	bool torn = hit->store->kind->killed && at->slot == hit->store->last_slot &&
		    at->record->seq >= hit->store->marked_seq;

	if (at->slot != hit->slot || hit->at < at->offset || hit->at >= at->offset + at->length)
		return;
	/* Others need it: a dictionary, a snapshot; or nobody knows that it was whole. */
	hit->lost_max = at->record->keyspace == FORMAT_KEYSPACE_ENGINE || torn
				? hit->store->kind->keys + 1
				: 1;
}

static struct fate fate_of(
	const struct damage_store *store, const struct store_image_file *file, uint64_t at)
{
	struct hit hit = {.store = store, .at = at};

	if (is_super(file) || is_snapshots(file))
		return (struct fate){.said = true};
	if (is_manifest(file))
		return (struct fate){.copy = counts(file, at)};
	if (!is_segment(file))
		return (struct fate){0}; /* the log has all of it */
	hit.slot = (uint32_t)format_segment_slot(file->name);
	store_image_records(&store->image, note_hit, &hit);
	return (struct fate){.lost_max = hit.lost_max * DAMAGE_VIEWS};
}

/* What a repair has named of one damaged byte: no more than the record around it. */
static void judge_named(
	const struct store_image_file *file, uint64_t at, const struct damage_said *said)
{
	for (unsigned i = 0; i < said->ranges_count; i++) {
		const struct damage_range *range = &said->ranges[i];

		assert_int_equal(range->slot, format_segment_slot(file->name));
		assert_true(range->from <= at && at < range->end);
	}
}

static void flip_one(const struct damage_store *store, const struct store_image_file *file,
	uint64_t at, unsigned bits)
{
	struct fate fate = fate_of(store, file, at);
	struct damage_said said;
	struct damage_seen after;
	struct fixture fixture;

	where = (struct where){file->name, at, bits};
	mount_image(&fixture, store);
	flip(fixture.sim, file->name, at, bits);
	judge(store, &fixture, &fate, &said, &after);
	judge_named(file, at, &said);
	unmount(&fixture);
}

static void test_flips(void **state)
{
	struct damage_store store;

	damage_store_make(&store, kind);
	for (unsigned i = 0; i < store.image.count; i++) {
		const struct store_image_file *file = &store.image.files[i];

		for (uint64_t at = 0; at < file->used; at = next_place(file, at)) {
			flip_one(&store, file, at, bits_at(at));
			if (LONG && bits_at(at) != 0xff)
				flip_one(&store, file, at, 0xff);
		}
		/* Where nothing was written. */
		if (file->used + 5000 < file->size) {
			flip_one(&store, file, file->used + 1, 1);
			flip_one(&store, file, file->size - 1, 1);
		}
	}
	damage_store_free(&store);
}

struct leads {
	const struct damage_store *store;
	unsigned left;
};

static void flip_lead(void *arg, const struct store_image_record *at)
{
	struct leads *leads = arg;
	char name[FORMAT_SEGMENT_NAME_SIZE];

	if (!format_record_is_bare(at->record) || !(at->record->flags & FORMAT_RECORD_OLD) ||
		!leads->left)
		return;
	leads->left--;
	format_segment_name(at->slot, name);
	flip_one(leads->store, store_image_find(&leads->store->image, name), at->offset, 1);
}

/* What says until when an old version was the newest: a checkpoint knows that, too. */
static void test_leads(void **state)
{
	struct leads leads = {.left = full_or_quick(20, 2)};
	struct damage_store store;

	damage_store_make(&store, kind);
	leads.store = &store;
	store_image_records(&store.image, flip_lead, &leads);
	damage_store_free(&store);
}

/* `lost_max`: what may be missing. */
static void cut_one(const struct damage_store *store, const struct store_image_file *file,
	uint64_t size, unsigned lost_max)
{
	struct fate fate = fate_of(store, file, size);
	struct damage_said said;
	struct damage_seen after;
	struct fixture fixture;

	where = (struct where){file->name, size, 0};
	fate.lost_max = lost_max;
	fate.said |= is_segment(file);
	fate.copy |= is_manifest(file);
	mount_image(&fixture, store);
	assert_int_equal(sim_env_resize(fixture.sim, file->name, size), 0);
	judge(store, &fixture, &fate, &said, &after);
	assert_true(!after.missing || damage_lost_bytes(&said) > 0);
	unmount(&fixture);
}

/* What is cut off of one file; each segment holds some of the keys. */
static void test_truncations(void **state)
{
	struct damage_store store;

	damage_store_make(&store, kind);
	for (unsigned i = 0; i < store.image.count; i++) {
		const struct store_image_file *file = &store.image.files[i];
		unsigned all = is_segment(file) ? (kind->keys + 1) * DAMAGE_VIEWS : 0;

		for (uint64_t size = 0; size < file->used; size = next_place(file, LONG ? size : size + 6))
			cut_one(&store, file, size, all);
		/* What was never written: nothing is lost, and the size comes back for good. */
		if (is_segment(file) && file->used < file->size)
			cut_one(&store, file,
				file->used < FORMAT_SEGMENT_HEADER_SIZE ? FORMAT_SEGMENT_HEADER_SIZE
									: file->used,
				0);
	}
	damage_store_free(&store);
}

/* ---- other damage, and none --------------------------------------------------------------- */

/* The superblock's file is gone altogether. */
static void test_no_super(void **state)
{
	struct kv_repair_report report;
	struct damage_store store;
	struct damage_said said;
	struct damage_seen seen;
	struct fixture fixture;

	damage_store_make(&store, kind);
	for (unsigned i = 0; i < store.image.count; i++) {
		if (is_super(&store.image.files[i]))
			strcpy(store.image.files[i].name, "other");
	}
	mount_image(&fixture, &store);
	assert_int_equal(fixture_open(&fixture, KV_OPEN_READ_ONLY), -EUCLEAN);
	repair(&fixture, &report, &said);
	assert_int_equal(report.mended, 1);
	assert_int_equal(report.lost_bytes, 0);
	assert_int_equal(report.remaining, 0);
	must_open(&fixture, 0);
	damage_look(&store, &fixture, &seen);
	assert_int_equal(seen.missing, 0);
	must_check_clean(&fixture);
	must_close(&fixture);
	unmount(&fixture);
	damage_store_free(&store);
}

/* Segments that say they are another store's are left alone, and so is everything. */
static void test_wrong_super(void **state)
{
	const struct store_image_file *file;
	struct damage_said said = {.segment_size = SEGMENT_SIZE};
	struct kv_repair_report report;
	struct damage_store store;
	struct format_super super;
	struct fixture fixture;
	uint64_t size;

	damage_store_make(&store, kind);
	file = store_image_find(&store.image, FORMAT_SUPER_NAME);
	memcpy(&super, file->bytes, sizeof(super));
	super.uuid[3] ^= 1;
	format_super_seal(&super);
	memcpy(file->bytes, &super, sizeof(super));
	mount_image(&fixture, &store);
	assert_int_equal(
		kv_repair(fixture.env, DAMAGE_PATH, damage_hear, &said, &report), -EUCLEAN);
	assert_true(said.count > 0);
	for (unsigned i = 0; i < store.image.count; i++)
		assert_non_null(sim_env_bytes(fixture.sim, store.image.files[i].name, &size));
	unmount(&fixture);
	damage_store_free(&store);
}

/* A whole store is left as it is, byte for byte. */
static void test_nothing_to_do(void **state)
{
	struct kv_repair_report report;
	struct damage_store store;
	struct damage_said said;
	struct fixture fixture;

	damage_store_make(&store, kind);
	mount_image(&fixture, &store);
	repair(&fixture, &report, &said);
	assert_int_equal(report.mended + report.lost_bytes + report.remaining, 0);
	assert_int_equal(said.count, 0);
	for (unsigned i = 0; i < store.image.count; i++) {
		const struct store_image_file *file = &store.image.files[i];
		uint64_t size;
		const uint8_t *bytes = sim_env_bytes(fixture.sim, file->name, &size);

		assert_non_null(bytes);
		assert_int_equal(size, file->size);
		assert_memory_equal(bytes, file->bytes, size);
	}
	unmount(&fixture);
	damage_store_free(&store);
}

/* The power fails at any step of a repair: it can be run again, and nothing is worse. */
static void test_crashes(void **state)
{
	struct fate fate = {.interrupted = true, .lost_max = DAMAGE_VIEWS};
	const struct store_image_file *segment;
	struct damage_store store;
	bool cut = true;

	damage_store_make(&store, kind);
	segment = first_segment(&store);
	if (kind->killed || kind->compress == KV_COMPRESS_BACKGROUND)
		fate.lost_max = (kind->keys + 1) * DAMAGE_VIEWS;
	for (uint64_t step = 1; cut; step += LONG ? 1 : full_or_quick(3, 20)) {
		struct damage_said said = {.segment_size = SEGMENT_SIZE};
		struct kv_repair_report report;
		struct damage_seen after;
		struct fixture fixture;

		where = (struct where){"power", step, 0};
		mount_image(&fixture, &store);
		flip(fixture.sim, FORMAT_SUPER_NAME, 40, 2);
		flip(fixture.sim, segment->name, 40, 2);
		flip(fixture.sim, segment->name, 5000, 2);
		sim_env_cut_at(fixture.sim, sim_env_steps(fixture.sim) + step);
		(void)!kv_repair(fixture.env, DAMAGE_PATH, damage_hear, &said, &report);
		cut = sim_env_is_cut(fixture.sim);
		assert_int_equal(
			sim_env_power_on(fixture.sim, step % 3 == 0 ? SIM_LOSS_ALL : SIM_LOSS_ANY),
			0);
		judge(&store, &fixture, &fate, &said, &after);
		unmount(&fixture);
	}
	damage_store_free(&store);
}

/* ---- no room ------------------------------------------------------------------------------ */

/* A damaged store on a disk that has so many bytes left. */
static void mount_damaged(struct fixture *fixture, const struct damage_store *store, uint64_t room)
{
	const char *segment = first_segment(store)->name;
	uint64_t capacity = room;

	mount_image(fixture, store);
	for (unsigned i = 0; i < store->image.count; i++)
		capacity += store->image.files[i].size;
	flip(fixture->sim, FORMAT_SUPER_NAME, 40, 2);
	flip(fixture->sim, segment, 40, 2);
	flip(fixture->sim, segment, 5000, 2);
	flip(fixture->sim, segment, first_segment(store)->used / 2, 2);
	sim_env_set_capacity(fixture->sim, capacity);
}

static void look(const struct damage_store *store, struct fixture *fixture,
	struct damage_seen *seen)
{
	struct damage_said heard;

	open_and_hear(fixture, KV_OPEN_READ_ONLY, &heard);
	damage_look(store, fixture, seen);
	must_close(fixture);
}

/* Byte for byte, but for superblock and segments' headers, which took no room. */
static void must_be_as_before(const struct damage_store *store, struct fixture *fixture)
{
	struct fixture damaged;

	mount_damaged(&damaged, store, 0);
	for (unsigned i = 0; i < store->image.count; i++) {
		const struct store_image_file *file = &store->image.files[i];
		uint64_t size, from = is_segment(file) || is_super(file)
						? FORMAT_SEGMENT_HEADER_SIZE
						: 0;
		const uint8_t *bytes = sim_env_bytes(fixture->sim, file->name, &size);

		where.name = file->name;
		assert_non_null(bytes);
		assert_int_equal(size, file->size);
		assert_memory_equal(bytes + from,
			sim_env_bytes(damaged.sim, file->name, &size) + from, size - from);
	}
	unmount(&damaged);
}

/* A file that a killed store has prepared, and that holds nothing yet, is room for copies. */
static bool has_spare(const struct damage_store *store)
{
	for (unsigned i = 0; i < store->image.count; i++) {
		const struct store_image_file *file = &store->image.files[i];

		if (format_free_slot(file->name) >= 0 ||
			(is_segment(file) && file->used <= FORMAT_SEGMENT_HEADER_SIZE))
			return true;
	}
	return false;
}

/*
 * Where there is no room for copies a repair fails, and the store is as it was, its checkpoint
 * too; as soon as there is it goes well, on how full a disk whatever.
 */
static void test_no_room(void **state)
{
	struct fate fate = {.interrupted = true, .lost_max = (DAMAGE_KEYS_MAX + 1) * DAMAGE_VIEWS};
	struct damage_store store;
	unsigned refused = 0;
	int result = -ENOSPC;

	damage_store_make(&store, kind);
	for (uint64_t room = 0; result; room += SEGMENT_SIZE / 4) {
		struct damage_said said = {.segment_size = SEGMENT_SIZE};
		struct damage_seen before, after;
		struct kv_repair_report report;
		struct fixture fixture;

		mount_damaged(&fixture, &store, room);
		look(&store, &fixture, &before);
		result = kv_repair(fixture.env, DAMAGE_PATH, damage_hear, &said, &report);
		if (result) {
			assert_int_equal(result, -ENOSPC);
			must_be_as_before(&store, &fixture);
			look(&store, &fixture, &after);
			assert_memory_equal(&after, &before, sizeof(after));
			refused++;
		}
		sim_env_set_capacity(fixture.sim, 64 << 20);
		judge(&store, &fixture, &fate, &said, &after);
		unmount(&fixture);
	}
	assert_true(refused > 1 || has_spare(&store));
	damage_store_free(&store);
}

/* ---- nobody else's ------------------------------------------------------------------------ */

/* Whoever takes the checkpoint away has the store to himself. */
static struct {
	struct fixture *fixture;
	int (*unlink)(struct env_dir *dir, const char *name);
	bool within; /* the attempt to open it */
	unsigned removed, refused;
} gap;

static int watched_unlink(struct env_dir *dir, const char *name)
{
	if (!gap.within && !strcmp(name, FORMAT_CHECKPOINT_NAME)) {
		int result;

		gap.within = true;
		result = fixture_open(gap.fixture, KV_OPEN_INLINE);
		if (!result)
			must_close(gap.fixture);
		gap.within = false;
		gap.removed++;
		gap.refused += result == -EBUSY;
	}
	return gap.unlink(dir, name);
}

static void test_locked_meanwhile(void **state)
{
	struct kv_repair_report report;
	struct damage_store store;
	struct damage_said said;
	struct fixture fixture;

	damage_store_make(&store, kind);
	mount_image(&fixture, &store);
	flip(fixture.sim, first_segment(&store)->name, 5000, 2);
	memset(&gap, 0, sizeof(gap));
	gap.fixture = &fixture;
	gap.unlink = fixture.env->unlink;
	fixture.env->unlink = watched_unlink;
	repair(&fixture, &report, &said);
	fixture.env->unlink = gap.unlink;
	assert_true(report.mended > 0);
	assert_true(gap.removed > 0);
	assert_int_equal(gap.refused, gap.removed);
	unmount(&fixture);
	damage_store_free(&store);
}

/* Where it was, if something fails. */
static int say_where(void **state)
{
	if (where.name)
		print_error("%s store, %s at %llu, bits %02x\n", kind->name, where.name,
			(unsigned long long)where.at, where.bits);
	return 0;
}

#define TEST(test) cmocka_unit_test_teardown(test, say_where)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_flips),
		TEST(test_leads),
		TEST(test_truncations),
		TEST(test_no_super),
		TEST(test_wrong_super),
		TEST(test_nothing_to_do),
		TEST(test_crashes),
		TEST(test_no_room),
		TEST(test_locked_meanwhile),
	};

	kind = damage_kind_named(argc > 1 ? argv[1] : "plain");
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	return cmocka_run_group_tests_name(kind->name, tests, NULL, NULL);
}
