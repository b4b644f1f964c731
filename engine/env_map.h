/* SPDX-License-Identifier: MIT */
/*
 * env_map.h - file maps whose unreadable pages become zeros and a flag instead of a SIGBUS.
 */
#ifndef ENV_MAP_H
#define ENV_MAP_H

#include <stdbool.h>
#include <stddef.h>

#define ENV_MAP_HUGE ((size_t)1 << 21) /* bytes of a huge page; a map that is longer is aligned
					  to it */

/*
 * Maps [0, size) of `fd` read-only and shared, under protection. The descriptor stays open as long
 * as the map. -EINVAL size 0, -ENOMEM, -EIO...
 */
int env_map_open(int fd, size_t size, const void **out);
void env_map_close(const void *map, size_t size);

/*
 * Reads pages of a map in, maps and touches them. A virtual machine's host takes as long over the
 * first touch of a page that only the disk has filled as a reader over several look-ups. What
 * cannot be read is left alone. `start` is a page's.
 */
void env_map_populate(void *start, size_t size);

/* True once a page of the map that starts at `map` had to be replaced by zeros. */
bool env_map_failed(const void *map);

#endif
