/* SPDX-License-Identifier: MIT */
/*
 * kv_repair_test.c - small stores of several kinds, damaged byte by byte and cut off anywhere: what
 * is damaged is said, everything else stays readable, a repair brings back what can be, makes
 * nothing worse, and has nothing to do the second time.
 *
 * Bytes here and there; with KVFS_TEST_LONG in the environment every single one, with
 * KVFS_TEST_QUICK fewer.
 */
#include "kv_fixture.h"

#include "format.h"

#define KEYS 60u
#define SNAPSHOT "snapshot"
#define BATCH 3u /* keys a batch: what a damaged byte may take with it */
#define FILES_MAX 10u
#define STRIDE 99991u

/* A store's files, as they are on the disk. */
struct image {
	struct {
		char name[32];
		uint8_t *bytes;
		uint64_t size, used;
	} files[FILES_MAX];
	unsigned count;
};

struct kind {
	const char *name;
	enum kv_compress compress;
	bool checkpoint; /* the log behind it is short */
	bool cold;       /* parts were moved by compaction */
};

static const struct kind kinds[] = {
	{"plain", KV_COMPRESS_NONE, false, false},
	{"compressed", KV_COMPRESS_INLINE, false, false},
	{"checkpoint", KV_COMPRESS_NONE, true, false},
	{"cold", KV_COMPRESS_NONE, true, true},
};

static uint64_t stride(uint64_t here)
{
	/* Headers and the like closely, long stretches of records less so. */
	if (getenv("KVFS_TEST_LONG"))
		return 1;
	return (here < 100 ? 23 : here < 8192 ? 701 : STRIDE) * full_or_quick(1, 20);
}

static void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key %03u", number);
}

static size_t size_of(unsigned number)
{
	return number % 10 == 9 ? 30000 : 40 + number;
}

static void put_batches(struct fixture *fixture)
{
	uint8_t *value = malloc(30000);
	struct kv_batch *batch;
	char key[16];

	assert_int_equal(kv_batch_new(fixture->kv, &batch), 0);
	for (unsigned i = 0; i < KEYS; i++) {
		key_of(i, key);
		fill_bytes(value, size_of(i), i);
		assert_int_equal(kv_batch_put(batch, i % 2, key, strlen(key), value, size_of(i)), 0);
		if (i % BATCH == BATCH - 1)
			assert_int_equal(kv_commit(fixture->kv, batch, NULL), 0);
		if (i % 15 == 14)
			must_sync(fixture);
	}
	kv_batch_free(batch);
	free(value);
}

static int take_file(struct image *image, struct sim_env *sim, const char *name)
{
	uint64_t size;
	const uint8_t *bytes = sim_env_bytes(sim, name, &size);

	if (!bytes)
		return -ENOENT;
	assert_true(image->count < FILES_MAX);
	snprintf(image->files[image->count].name, sizeof(image->files[0].name), "%s", name);
	image->files[image->count].bytes = malloc(size);
	memcpy(image->files[image->count].bytes, bytes, size);
	image->files[image->count].size = size;
	while (size > 0 && bytes[size - 1] == 0)
		size--;
	image->files[image->count].used = size;
	image->count++;
	return 0;
}

static void take_image(struct image *image, struct sim_env *sim)
{
	char name[32];

	assert_int_equal(take_file(image, sim, "super"), 0);
	for (unsigned slot = 0; slot < 6; slot++) {
		snprintf(name, sizeof(name), "seg-%08x", slot);
		(void)!take_file(image, sim, name);
	}
	(void)!take_file(image, sim, "checkpoint");
	assert_int_equal(take_file(image, sim, "manifest"), 0);
	(void)!take_file(image, sim, "snapshots");
}

static bool has_file(const struct image *image, const char *name)
{
	for (unsigned i = 0; i < image->count; i++)
		if (strcmp(image->files[i].name, name) == 0)
			return true;
	return false;
}

static void free_image(struct image *image)
{
	for (unsigned i = 0; i < image->count; i++)
		free(image->files[i].bytes);
	image->count = 0;
}

/* A disk with this store on it. */
static void mount_image(struct fixture *fixture, const struct image *image)
{
	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 7, .capacity = 64 << 20}, &fixture->sim), 0);
	fixture->env = sim_env_table(fixture->sim);
	assert_int_equal(sim_env_make_dir(fixture->sim, STORE_PATH), 0);
	for (unsigned i = 0; i < image->count; i++)
		assert_int_equal(sim_env_put_file(fixture->sim, image->files[i].name,
					 image->files[i].bytes, image->files[i].size), 0);
}

static void make_image(const struct kind *kind, struct image *image)
{
	struct kv_create_options create = fixture_create_options;
	struct kv_prune_options prune = {.garbage_percent = 1};
	struct fixture fixture = {0};

	create.compress = kind->compress;
	assert_int_equal(sim_env_new(&(struct sim_options){.seed = 7}, &fixture.sim), 0);
	fixture.env = sim_env_table(fixture.sim);
	assert_int_equal(kv_create(fixture.env, STORE_PATH, &create, NULL, NULL), 0);
	must_open(&fixture, KV_OPEN_INLINE);
	put_batches(&fixture);
	if (kind->cold) {
		/* Fills segments with what is overwritten, between what is not. */
		for (unsigned i = 0; i < 12; i++)
			must_put_filled(&fixture, HASHED, "often", 150000, i);
		assert_int_equal(kv_prune(fixture.kv, &prune, NULL, NULL, NULL), 0);
	}
	if (kind->checkpoint) {
		for (unsigned i = 0; i < 3; i++)
			must_put_filled(&fixture, HASHED, "often", 150000, i);
	}
	assert_int_equal(kv_snapshot_create(fixture.kv, SNAPSHOT, NULL), 0);
	assert_int_equal(kv_write(fixture.kv, ORDERED, "large", 5, 100000, "end", 3, NULL), 0);
	must_sync(&fixture);
	must_close(&fixture);
	take_image(image, fixture.sim);
	assert_int_equal(has_file(image, "snapshots"), kind->checkpoint);
	sim_env_free(fixture.sim);
}

/* Keys that are there and right; none is wrong. */
static unsigned count_intact(struct fixture *fixture)
{
	unsigned intact = 0;
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		int result;

		key_of(i, key);
		result = have_filled(fixture, i % 2, key, size_of(i), i);
		assert_true(!result || result == -ENOENT || result == -EIO);
		intact += !result;
	}
	return intact;
}

static void count_finding(void *arg, enum kv_severity severity, const char *message)
{
	++*(unsigned *)arg;
}

static void must_have_snapshot(struct fixture *fixture)
{
	struct kv_snapshot snapshot;

	assert_int_equal(kv_snapshot_stat(fixture->kv, SNAPSHOT, &snapshot), 0);
}

static uint64_t findings_of(struct fixture *fixture)
{
	unsigned heard = 0;
	uint64_t findings;

	assert_int_equal(kv_check(fixture->kv, count_finding, &heard, NULL, NULL, &findings), 0);
	assert_int_equal(heard, findings);
	return findings;
}

enum said {
	SAID_IF_MISSED, /* if keys are missing */
	SAID_CUT,       /* the same, of a file that was cut off */
	SAID_NOW,       /* in any case */
	SAID_ALL_BACK,  /* if keys are missing; a repair brings back all of them */
	SAID_OF_COPY,   /* at least as a warning: the other one has it all */
	SAID_BEFORE,    /* by a repair that was interrupted, perhaps */
};

/*
 * What a damaged store must be like, before its repair and after. lost_max: keys. Returns findings
 * before.
 */
static uint64_t judge(struct fixture *fixture, unsigned lost_max, enum said said)
{
	struct kv_repair_report first, second;
	unsigned before, after, heard = 0;
	uint64_t findings;

	fixture->errors = 0;
	must_open(fixture, KV_OPEN_READ_ONLY);
	before = count_intact(fixture);
	assert_true(said == SAID_ALL_BACK || before + lost_max >= KEYS);
	findings = findings_of(fixture);
	if (said != SAID_BEFORE && (said == SAID_NOW || before < KEYS))
		assert_true(findings > 0 || fixture->errors > 0);
	if (said == SAID_OF_COPY)
		assert_true(before == KEYS && fixture->warnings > 0);
	must_close(fixture);

	assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &first), 0);
	assert_true(!first.mended || heard > 0);
	if (said == SAID_OF_COPY)
		assert_int_equal(first.mended, 1);
	/* What it has done is durable. */
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_ALL), 0);
	must_open(fixture, 0);
	/* Of the log what is damaged may be the snapshot's record, or all before it. */
	if (said == SAID_NOW || said == SAID_ALL_BACK || said == SAID_OF_COPY)
		must_have_snapshot(fixture);
	after = count_intact(fixture);
	/* Half a batch at the place where a file was cut off is given up. */
	assert_true(after + (said == SAID_CUT ? BATCH : 0) >= before);
	if (said == SAID_ALL_BACK)
		assert_int_equal(after, KEYS);
	assert_int_equal(findings_of(fixture), first.remaining);
	must_put(fixture, HASHED, "new", "value");
	must_close(fixture);
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &second), 0);
	assert_int_equal(second.mended, 0);
	assert_int_equal(second.remaining, first.remaining);
	must_open(fixture, 0);
	assert_int_equal(count_intact(fixture), after);
	must_have(fixture, HASHED, "new", "value");
	must_close(fixture);
	return findings;
}

static void unmount(struct fixture *fixture)
{
	assert_int_equal(sim_env_power_on(fixture->sim, SIM_LOSS_NONE), 0);
	sim_env_free(fixture->sim);
	fixture->sim = NULL;
}

static bool is_newer_version(const char *name, uint64_t position)
{
	return strcmp(name, "super") == 0 && position >= 16 && position < 20;
}

/*
 * The superblock has copies, and what the list of snapshots says the log says too; a checkpoint can
 * be done without.
 */
static enum said said_of(const struct image *image, unsigned file, enum said others)
{
	return file == 0 || strcmp(image->files[file].name, "snapshots") == 0 ? SAID_NOW :
	       strcmp(image->files[file].name, "manifest") == 0 ? SAID_OF_COPY :
	       strcmp(image->files[file].name, "checkpoint") == 0 ? SAID_ALL_BACK : others;
}

/* Behind the last entry of a copy nothing counts. */
static bool counts(const struct image *image, unsigned file, uint64_t position)
{
	const struct format_manifest *header = (const void *)image->files[file].bytes;

	return strcmp(image->files[file].name, "manifest") ||
	       position % FORMAT_MANIFEST_PAGE_SIZE <
		       sizeof(*header) + header->count * sizeof(struct format_manifest_entry);
}

static void test_flips(void **state)
{
	const struct kind *kind = *state;
	struct image image = {0};

	make_image(kind, &image);
	for (unsigned i = 0; i < image.count; i++) {
		for (uint64_t at = 0; at < image.files[i].used; at += stride(at)) {
			struct fixture fixture = {0};

			/* "Made by a newer version" is what it then says. */
			if (is_newer_version(image.files[i].name, at) || !counts(&image, i, at))
				continue;
			mount_image(&fixture, &image);
			assert_int_equal(sim_env_flip(fixture.sim, image.files[i].name, at, at % 8), 0);
			judge(&fixture, BATCH, said_of(&image, i, SAID_IF_MISSED));
			unmount(&fixture);
		}
	}
	free_image(&image);
}

/* What is cut off of one file; each segment holds some of the keys. */
static void test_truncations(void **state)
{
	const struct kind *kind = *state;
	struct image image = {0};

	make_image(kind, &image);
	for (unsigned i = 0; i < image.count; i++) {
		for (uint64_t size = 0; size < image.files[i].used; size += stride(size) * 7) {
			struct fixture fixture = {0};

			mount_image(&fixture, &image);
			assert_int_equal(sim_env_resize(fixture.sim, image.files[i].name, size), 0);
			judge(&fixture, i == 0 ? 0 : KEYS, said_of(&image, i, SAID_CUT));
			unmount(&fixture);
		}
		/* What was never written: nothing is lost, and the size comes back for good. */
		if (image.files[i].used < image.files[i].size) {
			struct fixture fixture = {0};

			mount_image(&fixture, &image);
			assert_int_equal(sim_env_resize(fixture.sim, image.files[i].name,
							image.files[i].used), 0);
			judge(&fixture, 0, said_of(&image, i, SAID_NOW));
			unmount(&fixture);
		}
	}
	free_image(&image);
}

/* The superblock's file is gone altogether. */
static void test_no_super(void **state)
{
	const struct kind *kind = *state;
	struct kv_repair_report report;
	struct fixture fixture = {0};
	struct image image = {0};
	unsigned heard = 0;

	make_image(kind, &image);
	strcpy(image.files[0].name, "other");
	mount_image(&fixture, &image);
	assert_int_equal(fixture_open(&fixture, KV_OPEN_READ_ONLY), -EUCLEAN);
	assert_int_equal(kv_repair(fixture.env, STORE_PATH, count_finding, &heard, &report), 0);
	assert_int_equal(report.mended, 1);
	assert_int_equal(report.remaining, 0);
	must_open(&fixture, 0);
	assert_int_equal(count_intact(&fixture), KEYS);
	must_check_clean(&fixture);
	must_close(&fixture);
	unmount(&fixture);
	free_image(&image);
}

/* Segments that say they are another store's are left alone, and so is everything. */
static void test_wrong_super(void **state)
{
	const struct kind *kind = *state;
	struct kv_repair_report report;
	struct fixture fixture = {0};
	struct image image = {0};
	struct format_super super;
	unsigned heard = 0;

	make_image(kind, &image);
	memcpy(&super, image.files[0].bytes, sizeof(super));
	super.uuid[3] ^= 1;
	format_super_seal(&super);
	memcpy(image.files[0].bytes, &super, sizeof(super));
	mount_image(&fixture, &image);
	assert_int_equal(kv_repair(fixture.env, STORE_PATH, count_finding, &heard, &report), -EUCLEAN);
	assert_true(heard > 0);
	for (unsigned i = 0; i < image.count; i++)
		assert_non_null(sim_env_bytes(fixture.sim, image.files[i].name, &image.files[i].used));
	unmount(&fixture);
	free_image(&image);
}

static unsigned errors_of_opening(struct fixture *fixture, unsigned flags)
{
	unsigned errors;

	must_open(fixture, flags);
	errors = fixture->errors;
	must_close(fixture);
	return errors;
}

/*
 * A damaged list of snapshots is found, and is whole again after a repair, or an opening for
 * writing, also where the log has none and no change of the list will come.
 */
static void damaged_list(void **state, bool repairs)
{
	static const uint8_t bytes[] = "any bytes";
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup(state);
	fixture = *state;
	must_close(fixture);
	assert_int_equal(sim_env_put_file(fixture->sim, "snapshots", bytes, sizeof(bytes)), 0);
	assert_int_equal(errors_of_opening(fixture, KV_OPEN_READ_ONLY), 1);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->errors, 1);
	assert_int_equal(findings_of(fixture), 1);
	must_close(fixture);
	if (repairs) {
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_int_equal(report.mended, 1);
		assert_int_equal(report.lost_bytes + report.remaining, 0);
		assert_true(heard > 0);
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_int_equal(report.mended, 0);
	} else {
		assert_int_equal(errors_of_opening(fixture, 0), 1);
	}
	assert_int_equal(errors_of_opening(fixture, KV_OPEN_READ_ONLY), 0);
	must_open(fixture, 0);
	must_check_clean(fixture);
	fixture_teardown(state);
}

static void test_damaged_list_repaired(void **state)
{
	damaged_list(state, true);
}

static void test_damaged_list_opened(void **state)
{
	damaged_list(state, false);
}

static int (*open_file)(struct env_dir *dir, const char *name, unsigned flags, struct env_file **out);

static int refusing_open(struct env_dir *dir, const char *name, unsigned flags, struct env_file **out)
{
	return strcmp(name, FORMAT_SNAPSHOTS_NEW_NAME) ? open_file(dir, name, flags, out) : -ENOSPC;
}

/* Where there is no room to write it anew the store opens, and it is found until there is. */
static void test_damaged_list_stays(void **state)
{
	static const uint8_t bytes[] = "any bytes";
	struct fixture *fixture;

	fixture_setup(state);
	fixture = *state;
	must_close(fixture);
	assert_int_equal(sim_env_put_file(fixture->sim, "snapshots", bytes, sizeof(bytes)), 0);
	open_file = fixture->env->file_open;
	fixture->env->file_open = refusing_open;
	must_open(fixture, KV_OPEN_INLINE);
	assert_int_equal(findings_of(fixture), 1);
	assert_int_equal(kv_snapshot_create(fixture->kv, SNAPSHOT, NULL), 0);
	fixture->env->file_open = open_file;
	must_close(fixture);
	assert_int_equal(errors_of_opening(fixture, 0), 1);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->errors, 0);
	must_have_snapshot(fixture);
	must_check_clean(fixture);
	fixture_teardown(state);
}

#define SECOND_COPY FORMAT_MANIFEST_PAGE_SIZE

static const struct manifest_damage {
	uint64_t positions[2]; /* of damaged bytes, if not 0 */
	bool missing;
	unsigned findings;
} manifest_damages[] = {
	{{1}, false, 1},
	{{SECOND_COPY + 30}, false, 1},
	{{offsetof(struct format_manifest, zero)}, false, 1},
	{{1, SECOND_COPY + 1}, false, 1},
	{{0}, true, 1},
	/* A power failure while it was written leaves the same. */
	{{offsetof(struct format_manifest, top)}, false, 0},
	{{offsetof(struct format_manifest, generation) + 1}, false, 0},
	{{SECOND_COPY + offsetof(struct format_manifest, check)}, false, 0},
};

static void damage_manifest(struct fixture *fixture, const struct manifest_damage *damage)
{
	struct env_dir *dir;

	for (unsigned i = 0; i < 2; i++)
		if (damage->positions[i])
			assert_int_equal(sim_env_flip(fixture->sim, FORMAT_MANIFEST_NAME,
						 damage->positions[i], 3), 0);
	if (!damage->missing)
		return;
	assert_int_equal(fixture->env->dir_open(fixture->env, STORE_PATH, &dir), 0);
	assert_int_equal(fixture->env->unlink(dir, FORMAT_MANIFEST_NAME), 0);
	assert_int_equal(fixture->env->dir_sync(dir), 0);
	fixture->env->dir_close(dir);
}

/*
 * A damaged list of segments, or one of its copies, is said, found unless a power failure may have
 * left it so, and whole again after a repair, or an opening for writing.
 */
static void damaged_manifest(void **state, const struct manifest_damage *damage, bool repairs)
{
	struct kv_repair_report report;
	struct fixture *fixture;
	unsigned heard = 0;

	fixture_setup(state);
	fixture = *state;
	must_put(fixture, HASHED, "key", "value");
	must_close(fixture);
	damage_manifest(fixture, damage);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->warnings, 1);
	assert_int_equal(findings_of(fixture), damage->findings);
	must_close(fixture);
	if (repairs) {
		assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
		assert_int_equal(report.mended, 1);
		assert_int_equal(report.lost_bytes + report.remaining, 0);
		assert_true(heard > 0);
	} else {
		must_open(fixture, 0);
		must_check_clean(fixture);
		must_close(fixture);
	}
	assert_int_equal(kv_repair(fixture->env, STORE_PATH, count_finding, &heard, &report), 0);
	assert_int_equal(report.mended, 0);
	must_open(fixture, KV_OPEN_READ_ONLY);
	assert_int_equal(fixture->warnings + fixture->errors, 0);
	must_have(fixture, HASHED, "key", "value");
	must_check_clean(fixture);
	fixture_teardown(state);
}

static void test_damaged_manifest(void **state)
{
	for (unsigned i = 0; i < sizeof(manifest_damages) / sizeof(manifest_damages[0]); i++) {
		damaged_manifest(state, &manifest_damages[i], true);
		damaged_manifest(state, &manifest_damages[i], false);
	}
}

/* A whole store is left as it is, byte for byte. */
static void test_nothing_to_do(void **state)
{
	const struct kind *kind = *state;
	struct kv_repair_report report;
	struct fixture fixture = {0};
	struct image image = {0};
	unsigned heard = 0;

	make_image(kind, &image);
	mount_image(&fixture, &image);
	assert_int_equal(kv_repair(fixture.env, STORE_PATH, count_finding, &heard, &report), 0);
	assert_int_equal(report.mended + report.lost_bytes + report.remaining, 0);
	assert_int_equal(heard, 0);
	for (unsigned i = 0; i < image.count; i++) {
		uint64_t size;
		const uint8_t *bytes = sim_env_bytes(fixture.sim, image.files[i].name, &size);

		assert_non_null(bytes);
		assert_int_equal(size, image.files[i].size);
		assert_memory_equal(bytes, image.files[i].bytes, size);
	}
	unmount(&fixture);
	free_image(&image);
}

/* The power fails at any step of a repair: it can be run again, and nothing is worse. */
static void test_crashes(void **state)
{
	const struct kind *kind = *state;
	struct image image = {0};
	bool cut = true;

	make_image(kind, &image);
	for (uint64_t step = 1; cut; step += full_or_quick(1, 7)) {
		struct kv_repair_report report;
		struct fixture fixture = {0};
		unsigned heard = 0;

		mount_image(&fixture, &image);
		assert_int_equal(sim_env_flip(fixture.sim, "super", 40, 1), 0);
		assert_int_equal(sim_env_flip(fixture.sim, image.files[1].name, 40, 1), 0);
		assert_int_equal(sim_env_flip(fixture.sim, image.files[1].name, 5000, 1), 0);
		sim_env_cut_at(fixture.sim, sim_env_steps(fixture.sim) + step);
		(void)!kv_repair(fixture.env, STORE_PATH, count_finding, &heard, &report);
		cut = sim_env_is_cut(fixture.sim);
		assert_int_equal(sim_env_power_on(fixture.sim, step % 3 == 0 ? SIM_LOSS_ALL : SIM_LOSS_ANY), 0);
		judge(&fixture, BATCH, SAID_BEFORE);
		unmount(&fixture);
	}
	free_image(&image);
}

/* ---- nobody else's ---------------------------------------------------------------------------- */

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
	const struct kind *kind = *state;
	struct kv_repair_report report;
	struct fixture fixture = {0};
	struct image image = {0};
	unsigned heard = 0;

	make_image(kind, &image);
	mount_image(&fixture, &image);
	assert_int_equal(sim_env_flip(fixture.sim, image.files[1].name, 5000, 1), 0);
	memset(&gap, 0, sizeof(gap));
	gap.fixture = &fixture;
	gap.unlink = fixture.env->unlink;
	fixture.env->unlink = watched_unlink;
	assert_int_equal(kv_repair(fixture.env, STORE_PATH, count_finding, &heard, &report), 0);
	fixture.env->unlink = gap.unlink;
	assert_true(report.mended > 0);
	assert_true(gap.removed > 0);
	assert_int_equal(gap.refused, gap.removed);
	unmount(&fixture);
	free_image(&image);
}

#define KIND(test, number) {#test, test, NULL, NULL, (void *)&kinds[number]}
#define KINDS(test) KIND(test, 0), KIND(test, 1), KIND(test, 2), KIND(test, 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KINDS(test_flips),
		KINDS(test_truncations),
		KINDS(test_no_super),
		KIND(test_wrong_super, 0),
		cmocka_unit_test(test_damaged_list_repaired),
		cmocka_unit_test(test_damaged_list_opened),
		cmocka_unit_test(test_damaged_list_stays),
		cmocka_unit_test(test_damaged_manifest),
		KINDS(test_nothing_to_do),
		KINDS(test_crashes),
		KIND(test_locked_meanwhile, 2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
