/* SPDX-License-Identifier: MIT */
/*
 * fixed.h - what a file system takes from outside of its store's environment, the secret of its
 * names and the times of its files, follows from a seed, so that a run can be repeated: names'
 * places depend on that secret, and so do the records that an input's bytes choose.
 */
#ifndef FIXED_H
#define FIXED_H

#include <stdint.h>

/*
 * From here on getrandom(2) and the clock of day begin anew, and say the same after the same seed.
 * Calls outside of the two, the fuzzer's own for one, are the system's.
 */
void fixed_begin(uint64_t seed);

void fixed_end(void);

#endif
