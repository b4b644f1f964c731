/* SPDX-License-Identifier: MIT */
/*
 * stray.h - segments' files that are not what their names say: somebody has copied, moved or
 * swapped them, or brought one of another store.
 */
#ifndef STRAY_H
#define STRAY_H

#include "env.h"
#include "format.h"

#define STRAY_TEXT_SIZE 160u

enum stray_kind {
	STRAY_NONE,	/* it is what its name says */
	STRAY_LOST,	/* nobody can tell: it has no header that is whole */
	STRAY_MISNAMED, /* of another slot of this store */
	STRAY_FOREIGN,	/* of another store */
	STRAY_NO_FILE,	/* no regular file */
};

/*
 * What the segment's file with the name of this slot is. Out: its header, unless that is lost.
 * What opening and reading say; -EPROTONOSUPPORT: of a newer version
 */
int stray_read(struct kv_env *env, struct env_dir *dir, const struct format_super *super,
	       uint32_t slot, enum stray_kind *kind, struct format_segment *header)
	__attribute__((warn_unused_result));
/* Says it for people, behind the file's name: of one that is misnamed or foreign. */
void stray_tell(enum stray_kind kind, const struct format_segment *header,
		const struct format_super *super, char text[STRAY_TEXT_SIZE]);

#endif
