/* SPDX-License-Identifier: MIT */
/* manifest.c - see manifest.h. */
#include "manifest.h"

#include <errno.h>

#include "cold.h"

#define PAGE ((uint64_t)FORMAT_MANIFEST_PAGE_SIZE)

/* ---- writing --------------------------------------------------------------------------------- */

/*
 * Writes both copies, one after the other, beginning with the one that may not be whole: one is
 * whole at any moment, and both are when this returns. In, out: the copy to begin with; the one
 * that failed.
 */
static int write_copies(struct kv_env *env, struct env_file *file,
			struct format_manifest_page *page, unsigned *first)
{
	unsigned i, copy;
	int error;

	format_manifest_seal(page);
	for (i = 0; i < FORMAT_MANIFEST_COPIES; i++) {
		copy = (*first + i) % FORMAT_MANIFEST_COPIES;
		error = env->file_write(file, page, sizeof(*page), copy * PAGE, true);
		if (error) {
			*first = copy;
			return error;
		}
	}
	return 0;
}

int manifest_create(struct kv_env *env, struct env_dir *dir, const uint8_t uuid[16])
{
	struct format_manifest_page page = {0};
	struct env_file *file;
	unsigned first = 0;
	int error = env->file_open(dir, FORMAT_MANIFEST_NAME, ENV_CREATE, &file);

	if (error)
		return error;
	memcpy(page.header.uuid, uuid, sizeof(page.header.uuid));
	error = env->file_allocate(file, FORMAT_MANIFEST_COPIES * PAGE);
	if (!error)
		error = write_copies(env, file, &page, &first);
	env->file_close(file);
	/* Or a power failure may leave a superblock without it, which is damage. */
	if (!error)
		error = env->dir_sync(dir);
	/*
	 * Only here is it known to be this one's own, and not another's who was faster. Left, it
	 * would be taken for a file whose name is durable.
	 */
	if (error)
		(void)env->unlink(dir, FORMAT_MANIFEST_NAME);
	return error;
}

/*
 * Are the segment's name and something in it durable? If not, nobody has missed it yet, and who
 * opens the store may take it for one that was prepared and not used. Only of the one that copies
 * go to this may not be so; it counts as written when its name is durable as well.
 */
static bool is_durable(const struct kv *kv, const struct segment *segment)
{
	return segment != kv->cold.active || segment->written > FORMAT_SEGMENT_HEADER_SIZE;
}

/* In the order of the ids. */
static void insert(struct format_manifest_page *page, const struct segment *segment)
{
	uint32_t i = page->header.count++;

	for (; i && page->entries[i - 1].id > segment->id; i--)
		page->entries[i] = page->entries[i - 1];
	page->entries[i] = (struct format_manifest_entry){
		.id = segment->id, .salt = segment->salt, .slot = segment->slot};
}

/*
 * Lists the segments that the checkpoint names, or those that it does not, with ids below `end`.
 */
static void list(struct kv *kv, struct format_manifest_page *page, uint64_t end, bool named)
{
	uint32_t slot, count = atomic_load(&kv->segments.count);

	for (slot = 0; slot < count && page->header.count < FORMAT_MANIFEST_ENTRIES_MAX; slot++) {
		const struct segment *segment = kv->segments.table[slot];

		if (segment && segment->id && segment->id < end && segment->named == named &&
		    !segment->leaving && is_durable(kv, segment))
			insert(page, segment);
	}
}

/*
 * Of one who was killed while he wrote, the copy that is to stay while the other one is written may
 * be in the page cache alone; and where a sync of it has failed, the kernel takes it for written.
 */
static int write_again(struct kv *kv)
{
	struct format_manifest_page page;
	uint64_t position = (FORMAT_MANIFEST_COPIES - 1 - kv->manifest_first) * PAGE;
	int error = kv->env->file_read(kv->manifest, &page, sizeof(page), position);

	/* None is to stay. */
	if (error || format_manifest_validate(&page, kv->segments.uuid))
		return 0;
	error = kv->env->file_write(kv->manifest, &page, sizeof(page), position, true);
	if (error) {
		kv->env->file_close(kv->manifest);
		kv->manifest = NULL;
	}
	return error;
}

static int open_file(struct kv *kv)
{
	int error;

	if (kv->manifest)
		return 0;
	error = kv->env->file_open(kv->dir, FORMAT_MANIFEST_NAME, 0, &kv->manifest);
	return error ? error : write_again(kv);
}

/* Somebody has taken it away: there is none, or a whole one whose name is durable. */
static int make_anew(struct kv *kv, struct format_manifest_page *page, struct env_file **out)
{
	struct kv_env *env = kv->env;
	struct env_file *file;
	unsigned first = 0;
	int error;

	(void)env->unlink(kv->dir, FORMAT_MANIFEST_NEW_NAME);
	error = env->file_open(kv->dir, FORMAT_MANIFEST_NEW_NAME, ENV_CREATE, &file);
	if (error)
		return error == -ENOENT ? -EIO : error;
	error = env->file_allocate(file, FORMAT_MANIFEST_COPIES * PAGE);
	if (!error)
		error = write_copies(env, file, page, &first);
	if (!error)
		error = env->rename(kv->dir, FORMAT_MANIFEST_NEW_NAME, FORMAT_MANIFEST_NAME);
	if (!error) {
		error = env->dir_sync(kv->dir);
		if (error)
			(void)env->unlink(kv->dir, FORMAT_MANIFEST_NAME);
	}
	if (error) {
		env->file_close(file);
		(void)env->unlink(kv->dir, FORMAT_MANIFEST_NEW_NAME);
		return error;
	}
	*out = file;
	return 0;
}

/*
 * What it says now. Not the log's last segment, which is not durable throughout; unless nothing is
 * appended to it any more. A copy may get there even if writing it fails: no two have the same
 * number and say something else.
 */
static void fill(struct kv *kv, struct format_manifest_page *page, bool with_last)
{
	uint64_t before = cold_before(kv), end = before + with_last;

	memset(page, 0, sizeof(*page));
	memcpy(page->header.uuid, kv->segments.uuid, sizeof(page->header.uuid));
	page->header.generation = ++kv->manifest_generation;
	page->header.top = before - FORMAT_SEGMENT_ID_STEP;
	/* The checkpoint itself misses the segments that it names. */
	list(kv, page, end, false);
	list(kv, page, end, true);
}

static uint64_t last_id(const struct format_manifest_page *page)
{
	uint32_t i = page->header.count;

	while (i && format_segment_is_cold(page->entries[i - 1].id))
		i--;
	return i ? page->entries[i - 1].id : 0;
}

static void note_written(struct kv *kv, const struct format_manifest_page *page)
{
	kv->manifest_last_id = last_id(page);
	kv->manifest_written = page->header.generation;
	kv->manifest_stale = false;
	kv->manifest_damaged = false;
}

static int write_list(struct kv *kv, bool with_last)
{
	struct format_manifest_page page;
	int error = open_file(kv);

	if (error && error != -ENOENT)
		return error;
	fill(kv, &page, with_last);
	error = error ? make_anew(kv, &page, &kv->manifest)
		      : write_copies(kv->env, kv->manifest, &page, &kv->manifest_first);
	if (!error)
		note_written(kv, &page);
	else /* a copy may be torn, until it is written again */
		kv->manifest_stale = true;
	return error;
}

int manifest_write(struct kv *kv)
{
	return write_list(kv, false);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct copies {
	struct format_manifest_page pages[FORMAT_MANIFEST_COPIES];
	int newest; /* of those that are whole; -1: none is */
	int bad;    /* one that is not; -1: all are */
	bool torn;  /* it is as a power failure may leave it */
};

/*
 * Might this be one that was being written when the power failed? That leaves anything where a
 * write changes bytes, but these are the same in each.
 */
static bool may_be_torn(const struct format_manifest *bad, const struct format_manifest *whole)
{
	return bad->magic == whole->magic && bad->version == whole->version &&
	       !memcmp(bad->uuid, whole->uuid, sizeof(bad->uuid)) && bad->zero == whole->zero;
}

/* -ENOENT, and what opening says; a copy that cannot be read is as good as damaged */
static int read_copies(struct kv_env *env, struct env_dir *dir, const uint8_t uuid[16],
		       struct copies *out)
{
	struct format_manifest_page *pages = out->pages;
	struct env_file *file;
	int i, error = env->file_open(dir, FORMAT_MANIFEST_NAME, ENV_READ_ONLY, &file);

	if (error)
		return error;
	out->newest = out->bad = -1;
	out->torn = true;
	for (i = 0; i < (int)FORMAT_MANIFEST_COPIES; i++) {
		error = env->file_read(file, &pages[i], sizeof(pages[i]), (uint64_t)i * PAGE);
		if (error)
			out->torn = false;
		if (error || format_manifest_validate(&pages[i], uuid))
			out->bad = i;
		else if (out->newest < 0 || pages[i].header.generation >
						    pages[out->newest].header.generation)
			out->newest = i;
	}
	env->file_close(file);
	if (out->newest >= 0 && out->bad >= 0 && out->torn)
		out->torn = may_be_torn(&pages[out->bad].header, &pages[out->newest].header);
	return 0;
}

/*
 * What is durable and not listed is about to be freed; or a cold segment that was not durable when
 * the list was written, whose records are all where they were copied from.
 */
bool manifest_allows(struct kv_env *env, struct env_dir *dir, const uint8_t uuid[16], uint64_t id,
		     uint64_t salt)
{
	const struct format_manifest_page *page;
	struct copies copies;
	uint32_t i;

	if (read_copies(env, dir, uuid, &copies) || copies.newest < 0)
		return true;
	page = &copies.pages[copies.newest];
	if (id > page->header.top || page->header.count == FORMAT_MANIFEST_ENTRIES_MAX)
		return true;
	for (i = 0; i < page->header.count; i++) {
		if (page->entries[i].id == id && page->entries[i].salt == salt)
			return true;
	}
	return false;
}

int manifest_mend(struct kv_env *env, struct env_dir *dir, const uint8_t uuid[16], bool *mended)
{
	struct copies copies;
	struct env_file *file;
	int error = read_copies(env, dir, uuid, &copies);

	*mended = false;
	if (error == -ENOENT)
		return 0;
	if (error || copies.newest < 0 || copies.bad < 0)
		return error;
	error = env->file_open(dir, FORMAT_MANIFEST_NAME, 0, &file);
	if (error)
		return error;
	error = env->file_allocate(file, FORMAT_MANIFEST_COPIES * PAGE);
	if (!error)
		error = env->file_write(file, &copies.pages[copies.newest], PAGE,
					(uint64_t)copies.bad * PAGE, true);
	env->file_close(file);
	*mended = !error;
	return error;
}

/* ---- judging --------------------------------------------------------------------------------- */

static void miss(struct kv *kv)
{
	store_add(&kv->damaged, 1);
	kv->missing_segments++;
}

/* Judges the segments that are listed; both lists rise. */
static void judge_listed(struct kv *kv, const struct format_manifest_page *page,
			 struct segment *const *segments, size_t count)
{
	char name[FORMAT_SEGMENT_NAME_SIZE];
	size_t at = 0;
	uint32_t i;

	for (i = 0; i < page->header.count; i++) {
		const struct format_manifest_entry *entry = &page->entries[i];

		while (at < count && segments[at]->id < entry->id)
			at++;
		if ((at < count && segments[at]->id == entry->id &&
		     segments[at]->salt == entry->salt) ||
		    entry->id == kv->missing_id)
			continue;
		format_segment_name(entry->slot, name);
		miss(kv);
		store_report(
			kv, KV_ERROR,
			"%s: missing, or another segment is in its place; what it alone held is lost",
			name);
	}
}

/* Judges the segments behind those listed: their numbers have no gap. */
static void judge_order(struct kv *kv, uint64_t top, struct segment *const *segments, size_t count)
{
	uint64_t next = top + FORMAT_SEGMENT_ID_STEP, count_missing;
	size_t i;

	for (i = 0; i < count; i++) {
		uint64_t id = segments[i]->id;

		if (id <= top || format_segment_is_cold(id))
			continue;
		count_missing = id > next ? (id - next) / FORMAT_SEGMENT_ID_STEP : 0;
		if (kv->missing_id >= next && kv->missing_id < id &&
		    !format_segment_is_cold(kv->missing_id))
			count_missing--;
		if (count_missing) {
			miss(kv);
			store_report(
				kv, KV_ERROR,
				"%llu segments before number %llu of the log are missing; what "
				"they held is lost",
				(unsigned long long)count_missing,
				(unsigned long long)(id / FORMAT_SEGMENT_ID_STEP));
		}
		next = id + FORMAT_SEGMENT_ID_STEP;
	}
}

static void found_damaged(struct kv *kv)
{
	store_add(&kv->damaged, 1);
	kv->manifest_damaged = true;
	kv->manifest_stale = true;
}

/* The other one has it all; but who loses that one as well has none. */
static void judge_bad_copy(struct kv *kv, const struct copies *copies)
{
	kv->manifest_stale = true;
	if (!copies->torn)
		found_damaged(kv);
	store_report(kv, KV_WARNING, "%s: one of its two copies is damaged%s; the other is used",
		     FORMAT_MANIFEST_NAME,
		     copies->torn ? ", perhaps by a power failure while it was written" : "");
}

int manifest_judge(struct kv *kv, struct segment *const *segments, size_t count)
{
	const struct format_manifest_page *page;
	struct copies copies;
	int error = read_copies(kv->env, kv->dir, kv->segments.uuid, &copies);

	if (error == -ENOENT || (!error && copies.newest < 0)) {
		found_damaged(kv);
		store_report(kv, KV_WARNING,
			     "%s: missing or damaged; it is made anew, but a segment that is "
			     "missing now is not missed",
			     FORMAT_MANIFEST_NAME);
		return 0;
	}
	if (env_is_no_file(error)) {
		found_damaged(kv);
		store_report(kv, KV_ERROR, "%s: no regular file; a repair moves it away",
			     FORMAT_MANIFEST_NAME);
		/* To write to the store a list is needed. */
		return kv->info.read_only ? 0 : error;
	}
	if (error)
		return error;
	page = &copies.pages[copies.newest];
	kv->manifest_first = FORMAT_MANIFEST_COPIES - 1 - (unsigned)copies.newest;
	if (copies.bad >= 0)
		judge_bad_copy(kv, &copies);
	kv->manifest_generation = kv->manifest_written = page->header.generation;
	kv->manifest_last_id = last_id(page);
	/* The missing segment may be one whose header is lost, which was said already. */
	if (kv->lost_segments)
		return 0;
	judge_listed(kv, page, segments, count);
	judge_order(kv, page->header.top, segments, count);
	/*
	 * A segment that was reported missing is not reported for ever: the list is written anew.
	 */
	if (kv->missing_segments)
		kv->manifest_stale = true;
	return 0;
}

int manifest_settle(struct kv *kv)
{
	int error = 0;

	if (kv->info.read_only)
		return 0;
	if (kv->manifest_stale)
		error = manifest_write(kv);
	else
		/* Freeing segments must not wait for a descriptor: all may be theirs by then. */
		(void)open_file(kv);
	if (!env_is_short(error))
		return error;
	/* The manifest is written before any segment is freed, or none is freed. */
	store_report(kv, KV_WARNING, "%s: %s; it stays as it is", FORMAT_MANIFEST_NAME,
		     strerror(-error));
	return 0;
}

int manifest_close(struct kv *kv)
{
	if (kv->log.hot.offset == FORMAT_SEGMENT_HEADER_SIZE ||
	    (kv->log.hot.active->id == kv->manifest_last_id && !kv->manifest_stale))
		return 0;
	return write_list(kv, true);
}

/* ---- later ----------------------------------------------------------------------------------- */

/*
 * The file that is open need not be the one that has the name; that one is open from now on, if it
 * can be.
 */
static int open_by_name(struct kv *kv)
{
	struct env_file *file;
	int error = kv->env->file_open(kv->dir, FORMAT_MANIFEST_NAME, 0, &file);

	if (error)
		return error;
	if (kv->manifest)
		kv->env->file_close(kv->manifest);
	kv->manifest = file;
	return 0;
}

/* As manifest_write, where the file that has the name may not be there. */
static int write_by_name(struct kv *kv)
{
	struct format_manifest_page page;
	struct env_file *file;
	int error = open_by_name(kv);

	if (error != -ENOENT)
		return error ? error : manifest_write(kv);
	fill(kv, &page, false);
	error = make_anew(kv, &page, &file);
	if (error)
		return error;
	if (kv->manifest)
		kv->env->file_close(kv->manifest);
	kv->manifest = file;
	note_written(kv, &page);
	return 0;
}

static bool is_whole(const struct kv *kv, const struct copies *copies)
{
	return copies->newest >= 0 && copies->bad < 0 &&
	       copies->pages[copies->newest].header.generation >= kv->manifest_written;
}

bool manifest_verify(struct kv *kv)
{
	bool known = kv->manifest_stale || atomic_load(&kv->manifest_damaged);
	struct copies copies;
	int error = read_copies(kv->env, kv->dir, kv->segments.uuid, &copies);

	if (env_open_was_refused(error))
		return true;
	if (!error && is_whole(kv, &copies)) {
		if (!kv->info.read_only)
			(void)open_by_name(kv);
		return true;
	}
	if (!error && copies.newest >= 0)
		kv->manifest_first = FORMAT_MANIFEST_COPIES - 1 - (unsigned)copies.newest;
	if (!known)
		found_damaged(kv);
	error = kv->info.read_only ? -EROFS : write_by_name(kv);
	/* A page that cannot be read may not be so for having been written. */
	if (!error && (read_copies(kv->env, kv->dir, kv->segments.uuid, &copies) ||
		       !is_whole(kv, &copies))) {
		error = -EIO;
		kv->manifest_stale = true;
	}
	if (!known)
		store_report(kv, KV_ERROR,
			     "%s: the scrub found it missing or damaged, or one of its two copies; %s%s",
			     FORMAT_MANIFEST_NAME,
			     error ? "it could not be written anew: " : "it was written anew",
			     error ? strerror(-error) : "");
	return known;
}
