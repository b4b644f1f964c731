/* SPDX-License-Identifier: MIT */
/*
 * sim_names.c - the directory of the simulated disk: what programs see, what the medium has, and
 * the changes between.
 *
 * A change goes into the live table at once and onto a list; sync carries the list over into the
 * durable table, a power failure carries each change over or not. A change that is kept while one
 * it built on was not does what it can: a renaming brings its file under the new name even if the
 * creation of the old one was lost, as a journal that holds the inode would.
 */
#include "sim_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sim_name_change {
	struct sim_name_change *next;
	struct sim_file *file;
	char removed[SIM_NAME_SIZE_MAX]; /* "": none */
	char added[SIM_NAME_SIZE_MAX];   /* "": none */
};

static struct sim_name *table_find(struct sim_name_table *table, const char *text)
{
	for (unsigned i = 0; i < table->count; i++)
		if (strcmp(table->entries[i].text, text) == 0)
			return &table->entries[i];
	return NULL;
}

static void change_apply(struct sim_name_table *table, const struct sim_name_change *change)
{
	struct sim_name *name = table_find(table, change->removed);

	if (name && name->file == change->file)
		*name = table->entries[--table->count];
	if (change->added[0] == '\0')
		return;
	name = table_find(table, change->added);
	if (!name && table->count < SIM_NAMES_MAX) {
		name = &table->entries[table->count++];
		strcpy(name->text, change->added);
	}
	if (name)
		name->file = change->file;
}

static int change_add(
	struct sim_names *names, struct sim_file *file, const char *removed, const char *added)
{
	struct sim_name_change *change;

	if (names->live.count == SIM_NAMES_MAX && removed[0] == '\0')
		return -ENOSPC;
	change = calloc(1, sizeof(*change));
	if (!change)
		return -ENOMEM;
	change->file = file;
	strcpy(change->removed, removed);
	strcpy(change->added, added);
	*names->changes_end = change;
	names->changes_end = &change->next;
	change_apply(&names->live, change);
	return 0;
}

void sim_names_init(struct sim_names *names)
{
	memset(names, 0, sizeof(*names));
	names->changes_end = &names->changes;
}

static struct sim_name_change *change_take(struct sim_names *names)
{
	struct sim_name_change *change = names->changes;

	if (change)
		names->changes = change->next;
	else
		names->changes_end = &names->changes;
	return change;
}

void sim_names_fini(struct sim_names *names)
{
	struct sim_name_change *change;

	while ((change = change_take(names)))
		free(change);
}

int sim_name_check(const char *text)
{
	if (text[0] == '\0' || strchr(text, '/'))
		return -EINVAL;
	return strlen(text) < SIM_NAME_SIZE_MAX ? 0 : -ENAMETOOLONG;
}

struct sim_file *sim_names_find(const struct sim_names *names, const char *text)
{
	struct sim_name *name = table_find((struct sim_name_table *)&names->live, text);

	return name ? name->file : NULL;
}

int sim_names_create(struct sim_names *names, const char *text, struct sim_file *file)
{
	return change_add(names, file, "", text);
}

int sim_names_rename(struct sim_names *names, const char *from, const char *to)
{
	return change_add(names, sim_names_find(names, from), from, to);
}

int sim_names_unlink(struct sim_names *names, const char *text)
{
	return change_add(names, sim_names_find(names, text), text, "");
}

void sim_names_sync(struct sim_names *names)
{
	struct sim_name_change *change;

	while ((change = change_take(names))) {
		change_apply(&names->durable, change);
		free(change);
	}
}

void sim_names_lose(struct sim_names *names, enum sim_loss loss, struct sim_random *random)
{
	unsigned quarters = loss == SIM_LOSS_ALL ? 0 : (unsigned)sim_random_below(random, 5);
	struct sim_name_change *change;

	if (loss == SIM_LOSS_NONE)
		return;
	while ((change = change_take(names))) {
		if (sim_random_below(random, 4) < quarters)
			change_apply(&names->durable, change);
		free(change);
	}
	names->live = names->durable;
}

static bool table_holds(const struct sim_name_table *table, const struct sim_file *file)
{
	for (unsigned i = 0; i < table->count; i++)
		if (table->entries[i].file == file)
			return true;
	return false;
}

bool sim_names_hold(const struct sim_names *names, const struct sim_file *file)
{
	for (const struct sim_name_change *change = names->changes; change; change = change->next)
		if (change->file == file)
			return true;
	return table_holds(&names->live, file) || table_holds(&names->durable, file);
}
