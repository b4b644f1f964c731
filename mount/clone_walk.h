/* SPDX-License-Identifier: MIT */
/*
 * clone_walk.h - a clone of a tree under a mount, made by reading it as any program does: for those
 * whom the server does not give its records. It has what they may read, with new inode numbers and
 * times of birth.
 */
#ifndef CLONE_WALK_H
#define CLONE_WALK_H

/*
 * root: of the mount; tree: a descriptor of the snapshot's directory. The new store has another
 * name until it is whole. A failure was said.
 */
int clone_walk(const char *root, int tree, const char *target)
	__attribute__((warn_unused_result));

#endif
