/* SPDX-License-Identifier: MIT */
/* crash_scripts.h - the list of all scripts. */
#ifndef CRASH_SCRIPTS_H
#define CRASH_SCRIPTS_H

#include "crash.h"

struct crash_named {
	const char *name; /* NULL ends the list */
	const struct crash_subject *subject;
	const void *script; /* of the subject's own type */
};

extern const struct crash_named crash_scripts[];

#endif
