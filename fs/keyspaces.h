/* SPDX-License-Identifier: MIT */
/*
 * keyspaces.h - the keyspaces of a file system's store. Their numbers and names are its format.
 */
#ifndef KEYSPACES_H
#define KEYSPACES_H

enum keyspace {
	KEYSPACE_META = 0,   /* about the file system itself */
	KEYSPACE_INODE = 1,  /* attributes, small contents, targets of symlinks */
	KEYSPACE_DIRENT = 2, /* names */
	KEYSPACE_EXTENT = 3, /* larger contents, in pieces */
	KEYSPACE_XATTR = 4,  /* extended attributes */
	KEYSPACE_ORPHAN = 5, /* what is still to be freed */
	KEYSPACE_SHARED = 6, /* contents that several files refer to, and how many */
	KEYSPACE_COUNT
};

#define KEYSPACE_SPECS                                                                             \
	{                                                                                          \
		[KEYSPACE_META] = {"meta", false}, [KEYSPACE_INODE] = {"inode", false},            \
		[KEYSPACE_DIRENT] = {"dirent", true}, [KEYSPACE_EXTENT] = {"extent", true},        \
		[KEYSPACE_XATTR] = {"xattr", true}, [KEYSPACE_ORPHAN] = {"orphan", true},          \
		[KEYSPACE_SHARED] = {"shared", false},                                             \
	}

/* Marks a store as a file system's: "kvfs" and a version that older programs must refuse. */
#define KEYSPACES_APPLICATION UINT64_C(0x6b76667300000001)

#endif
