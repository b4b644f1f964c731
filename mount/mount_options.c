/* SPDX-License-Identifier: MIT */
/*
 * mount_options.c - the options behind -o (see mount_options.h): two tables, one of switches, one
 * of values.
 */
#include "mount_options.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "message.h"
#include "options.h"

#define COMMIT_S_MAX 3600.0
#define SCRUB_INTERVAL_S_MAX (366u * 86400u)

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

/* The effect of an option without a value: flags to set and to clear, and one thing of ours. */
enum own {
	OWN_NONE,
	OWN_REMOUNT,
	OWN_ALLOW_OTHER,
	OWN_RELATIME,
	OWN_NOATIME,
	OWN_STRICTATIME,
	OWN_SYNC,
	OWN_DIRSYNC,
	OWN_ASYNC,
	OWN_ACL,
	OWN_NOACL,
	OWN_SNAPDIR,
	OWN_NOSNAPDIR,
	OWN_DEBUG,
	OWN_CONFINE,
	OWN_NO_CONFINE,
};

#define SECURE (MS_NOSUID | MS_NODEV)

static const struct option_switch {
	const char *name;
	unsigned long set, clear;
	enum own own;
} option_switches[] = {
	{"ro", MS_RDONLY, 0, OWN_NONE},
	{"rw", 0, MS_RDONLY, OWN_NONE},
	{"suid", 0, MS_NOSUID, OWN_NONE},
	{"nosuid", MS_NOSUID, 0, OWN_NONE},
	{"dev", 0, MS_NODEV, OWN_NONE},
	{"nodev", MS_NODEV, 0, OWN_NONE},
	{"exec", 0, MS_NOEXEC, OWN_NONE},
	{"noexec", MS_NOEXEC, 0, OWN_NONE},
	{"symfollow", 0, MS_NOSYMFOLLOW, OWN_NONE},
	{"nosymfollow", MS_NOSYMFOLLOW, 0, OWN_NONE},
	{"async", 0, MS_SYNCHRONOUS | MS_DIRSYNC, OWN_ASYNC},
	{"sync", MS_SYNCHRONOUS, 0, OWN_SYNC},
	{"dirsync", MS_DIRSYNC, 0, OWN_DIRSYNC},
	{"atime", 0, MS_NOATIME, OWN_RELATIME},
	{"relatime", 0, MS_NOATIME, OWN_RELATIME},
	{"norelatime", 0, 0, OWN_NONE},
	{"noatime", MS_NOATIME, 0, OWN_NOATIME},
	{"strictatime", 0, MS_NOATIME, OWN_STRICTATIME},
	{"nostrictatime", 0, 0, OWN_RELATIME},
	{"diratime", 0, MS_NODIRATIME, OWN_NONE},
	{"nodiratime", MS_NODIRATIME, 0, OWN_NONE},
	{"defaults", 0, MS_RDONLY | SECURE | MS_NOEXEC | MS_SYNCHRONOUS | MS_DIRSYNC, OWN_ASYNC},
	/* who may mount also says what may be on it */
	{"user", SECURE | MS_NOEXEC, 0, OWN_NONE},
	{"users", SECURE | MS_NOEXEC, 0, OWN_NONE},
	{"owner", SECURE, 0, OWN_NONE},
	{"group", SECURE, 0, OWN_NONE},
	{"nouser", 0, 0, OWN_NONE},
	{"nousers", 0, 0, OWN_NONE},
	{"noowner", 0, 0, OWN_NONE},
	{"nogroup", 0, 0, OWN_NONE},
	{"remount", 0, 0, OWN_REMOUNT},
	{"allow_other", 0, 0, OWN_ALLOW_OTHER},
	{"acl", 0, 0, OWN_ACL},
	{"noacl", 0, 0, OWN_NOACL},
	{"snapdir", 0, 0, OWN_SNAPDIR},
	{"nosnapdir", 0, 0, OWN_NOSNAPDIR},
	{"debug", 0, 0, OWN_DEBUG},
	{"confine", 0, 0, OWN_CONFINE},
	{"no_confine", 0, 0, OWN_NO_CONFINE},
	/* always so, or nothing to do for us */
	{"default_permissions", 0, 0, OWN_NONE},
	{"auto", 0, 0, OWN_NONE},
	{"noauto", 0, 0, OWN_NONE},
	{"nofail", 0, 0, OWN_NONE},
	{"_netdev", 0, 0, OWN_NONE},
	{"lazytime", 0, 0, OWN_NONE},
	{"nolazytime", 0, 0, OWN_NONE},
	{"iversion", 0, 0, OWN_NONE},
	{"noiversion", 0, 0, OWN_NONE},
	{"mand", 0, 0, OWN_NONE},
	{"nomand", 0, 0, OWN_NONE},
	{"silent", 0, 0, OWN_NONE},
	{"loud", 0, 0, OWN_NONE},
};

void mount_options_init(struct mount_options *options)
{
	*options = (struct mount_options){
		.atime = KVFS_RELATIME, .acl = true, .snapdir = true, .confine = true};
	/* set-id programs and devices that a user brings along could give him rights */
	if (geteuid() != 0)
		options->flags = SECURE;
}

void mount_options_fini(struct mount_options *options)
{
	free(options->fsname);
	free(options->subtype);
	free(options->security);
	free(options->snapshot);
}

static void apply_own(struct mount_options *options, enum own own)
{
	switch (own) {
	case OWN_NONE:
		break;
	case OWN_REMOUNT:
		options->remount = true;
		break;
	case OWN_ALLOW_OTHER:
		options->allow_other = true;
		break;
	case OWN_RELATIME:
		options->atime = KVFS_RELATIME;
		break;
	case OWN_NOATIME:
		options->atime = KVFS_NOATIME;
		break;
	case OWN_STRICTATIME:
		options->atime = KVFS_STRICTATIME;
		break;
	case OWN_SYNC:
		options->sync = FUSE_FRONT_SYNC_ALL;
		break;
	case OWN_DIRSYNC:
		if (options->sync < FUSE_FRONT_SYNC_NAMES)
			options->sync = FUSE_FRONT_SYNC_NAMES;
		break;
	case OWN_ASYNC:
		options->sync = FUSE_FRONT_SYNC_NONE;
		break;
	case OWN_ACL:
		options->acl = true;
		break;
	case OWN_NOACL:
		options->acl = false;
		break;
	case OWN_SNAPDIR:
		options->snapdir = true;
		break;
	case OWN_NOSNAPDIR:
		options->snapdir = false;
		break;
	case OWN_DEBUG:
		options->debug = true;
		break;
	case OWN_CONFINE:
		options->confine = true;
		break;
	case OWN_NO_CONFINE:
		options->confine = false;
		break;
	}
}

static bool take_switch(struct mount_options *options, const char *text)
{
	size_t i;

	for (i = 0; i < sizeof(option_switches) / sizeof(option_switches[0]); i++) {
		const struct option_switch *option = &option_switches[i];

		if (strcmp(text, option->name))
			continue;
		options->flags = (options->flags & ~option->clear) | option->set;
		options->read_only = options->flags & MS_RDONLY;
		apply_own(options, option->own);
		return true;
	}
	return false;
}

static bool has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* Replaces what `to` holds; without the signs that keep commas together (option_length). */
static int set_text(char **to, const char *value)
{
	char *copy = strdup(value), *end = copy;

	if (!copy)
		return -ENOMEM;
	for (; *value; value++) {
		if (*value == '"')
			continue;
		if (*value == '\\' && value[1])
			value++;
		*end++ = *value;
	}
	*end = '\0';
	free(*to);
	*to = copy;
	return 0;
}

static int append(char **list, const char *text)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", *list ? *list : "", *list ? "," : "", text) < 0)
		return -ENOMEM;
	free(*list);
	*list = longer;
	return 0;
}

static int take_commit(struct mount_options *options, const char *value)
{
	char *end;
	double seconds = strtod(value, &end);

	if (!*value || *end || !(seconds >= 0 && seconds <= COMMIT_S_MAX)) {
		message(KV_ERROR, "commit=%s: not a number of seconds between 0 and %.0f", value,
			COMMIT_S_MAX);
		return -EINVAL;
	}
	/* 0 is the default, as for other file systems; less than a millisecond is not "never" */
	options->commit_interval_ms = (unsigned)(seconds * 1000);
	if (seconds > 0 && options->commit_interval_ms == 0)
		options->commit_interval_ms = 1;
	return 0;
}

static int take_scrub(struct mount_options *options, const char *value)
{
	uint64_t rate = 0;

	if (strcmp(value, "none") && (options_size(value, &rate) || !rate)) {
		message(KV_ERROR, "scrub=%s: neither bytes a second, as 4M, nor none", value);
		return -EINVAL;
	}
	options->scrub_rate = rate ? rate : KV_SCRUB_NEVER;
	return 0;
}

static int take_scrub_interval(struct mount_options *options, const char *value)
{
	char *end;
	unsigned long seconds = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || !seconds || seconds > SCRUB_INTERVAL_S_MAX) {
		message(KV_ERROR, "scrub_interval=%s: not a number of seconds between 1 and %u",
			value, SCRUB_INTERVAL_S_MAX);
		return -EINVAL;
	}
	options->scrub_interval_s = (unsigned)seconds;
	return 0;
}

/* True: it was an option of the form name=value that we know, and rc says how it went. */
static bool take_value(struct mount_options *options, const char *text, int *rc)
{
	const char *value = strchr(text, '=');

	*rc = 0;
	/* for others: user space (x-), mount(8)'s records */
	if (has_prefix(text, "x-") || has_prefix(text, "X-") || has_prefix(text, "comment="))
		return true;
	if (!value)
		return false;
	value++;
	if (has_prefix(text, "user=") || has_prefix(text, "uhelper=") ||
		has_prefix(text, "helper="))
		return true;
	/* mount(8) gives a remount what the mount table shows */
	if (options->remount && (has_prefix(text, "user_id=") || has_prefix(text, "group_id=") ||
					has_prefix(text, "max_read=")))
		return true;
	if (has_prefix(text, "commit="))
		*rc = take_commit(options, value);
	else if (has_prefix(text, "scrub="))
		*rc = take_scrub(options, value);
	else if (has_prefix(text, "scrub_interval="))
		*rc = take_scrub_interval(options, value);
	else if (has_prefix(text, "fsname="))
		*rc = set_text(&options->fsname, value);
	else if (has_prefix(text, "snapshot=") && *value)
		*rc = set_text(&options->snapshot, value);
	else if (has_prefix(text, "subtype="))
		*rc = set_text(&options->subtype, value);
	else if (has_prefix(text, "context=") || has_prefix(text, "fscontext=") ||
		 has_prefix(text, "defcontext=") || has_prefix(text, "rootcontext="))
		*rc = append(&options->security, text);
	else
		return false;
	return true;
}

static int take(struct mount_options *options, const char *text, bool sloppy)
{
	struct session_config transport = {.transport = options->transport};
	int rc;

	if (take_switch(options, text))
		return 0;
	if (session_config_option(&transport, text)) {
		options->transport = transport.transport;
		return 0;
	}
	if (take_value(options, text, &rc))
		return rc;
	if (sloppy)
		return 0;
	message(KV_ERROR, "%s: unknown mount option (see: kvfs mount --help)", text);
	return -EINVAL;
}

/* The end of an option: a comma that is neither quoted ("...") nor escaped with \. */
static size_t option_length(const char *list)
{
	bool quoted = false;
	size_t i;

	for (i = 0; list[i]; i++) {
		if (list[i] == '"')
			quoted = !quoted;
		else if (list[i] == '\\' && list[i + 1])
			i++;
		else if (list[i] == ',' && !quoted)
			break;
	}
	return i;
}

int mount_options_parse(struct mount_options *options, const char *list, bool sloppy)
{
	while (*list) {
		size_t length = option_length(list);
		char *text = strndup(list, length);
		int rc;

		if (!text)
			return -ENOMEM;
		rc = *text ? take(options, text, sloppy) : 0;
		free(text);
		if (rc)
			return rc;
		list += length;
		list += *list == ',';
	}
	if (options->snapshot) {
		options->flags |= MS_RDONLY;
		options->read_only = true;
	}
	return 0;
}

char *mount_options_fuse(const struct mount_options *options)
{
	/* without one of a pair, libfuse takes the careful one, which users without rights must */
	static const struct {
		unsigned long flag;
		const char *set, *clear;
	} pairs[] = {
		{MS_RDONLY, "ro", "rw"},
		{MS_NOSUID, "nosuid", "suid"},
		{MS_NODEV, "nodev", "dev"},
		{MS_NOEXEC, "noexec", NULL},
		{MS_SYNCHRONOUS, "sync", NULL},
		{MS_DIRSYNC, "dirsync", NULL},
		{MS_NOATIME, "noatime", NULL},
		{MS_NODIRATIME, "nodiratime", NULL},
		{MS_NOSYMFOLLOW, "nosymfollow", NULL},
	};
	char *list = NULL;
	int rc = append(&list, "default_permissions");
	size_t i;

	for (i = 0; !rc && i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		bool set = options->flags & pairs[i].flag;
		const char *text = set ? pairs[i].set : pairs[i].clear;

		if (text && (set || !(pairs[i].flag & SECURE) || geteuid() == 0))
			rc = append(&list, text);
	}
	if (!rc && options->allow_other)
		rc = append(&list, "allow_other");
	if (!rc && options->security)
		rc = append(&list, options->security);
	if (rc) {
		free(list);
		return NULL;
	}
	return list;
}
