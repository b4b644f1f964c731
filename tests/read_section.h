/* SPDX-License-Identifier: MIT */
/*
 * read_section.h - the way out of a test that failed in a read section
 *
 * A failed assertion leaves the test by a jump, and closing the store would wait for the section's
 * end for ever: no line would say what failed.
 */
#ifndef READ_SECTION_H
#define READ_SECTION_H

#include <urcu-bp.h>

#include "kv.h"

/* Ends the calling thread's sections of all stores. */
static inline void read_section_abandon(void)
{
	while (urcu_bp_read_ongoing())
		kv_read_end(NULL);
}

#endif
