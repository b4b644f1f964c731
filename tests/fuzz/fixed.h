/* SPDX-License-Identifier: MIT */
/*
 * fixed.h - what a file system takes from outside of its store's environment, the secret of its
 * names and the times of its files, is the same in every run of an input: names' places depend on
 * that secret, and so do the records that an input's bytes choose.
 */
#ifndef FIXED_H
#define FIXED_H

/*
 * From here on getrandom(2) and the clock of day begin anew, and say the same again. The fuzzer's
 * own calls, between the inputs, are the system's.
 */
void fixed_begin(void);

void fixed_end(void);

#endif
