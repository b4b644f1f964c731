/* SPDX-License-Identifier: MIT */
/* session_negotiate.c - what the kernel is asked for when a session begins (see session.h). */
#include "session.h"

#define REQUEST_SIZE_MAX (1u << 20)
#define BACKGROUND_MAX 64

bool session_want(struct fuse_conn_info *conn, uint64_t capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	return fuse_set_feature_flag(conn, capability);
#else
	if (!(conn->capable & capability))
		return false;
	conn->want |= (unsigned int)capability;
	return true;
#endif
}

void session_unwant(struct fuse_conn_info *conn, uint64_t capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	fuse_unset_feature_flag(conn, capability);
#else
	conn->want &= ~(unsigned int)capability;
#endif
}

void session_negotiate(struct fuse_conn_info *conn, unsigned int flags)
{
	session_want(conn, FUSE_CAP_ASYNC_READ);
	session_want(conn, FUSE_CAP_ASYNC_DIO);
	session_want(conn, FUSE_CAP_PARALLEL_DIROPS);
	session_want(conn, FUSE_CAP_CACHE_SYMLINKS);
	/* where there is no handler the library then says ENOSYS instead of success */
	session_want(conn, FUSE_CAP_NO_OPEN_SUPPORT);
	session_want(conn, FUSE_CAP_NO_OPENDIR_SUPPORT);
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
	if (flags & SESSION_KILLPRIV)
		session_want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
	/* with the default the kernel drops a file's pages whenever it sees a new mtime */
	session_unwant(conn, FUSE_CAP_AUTO_INVAL_DATA);
	session_want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	/* with it the kernel leaves O_TRUNC to open, and where open is ENOSYS to nobody */
	session_unwant(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	session_unwant(conn, FUSE_CAP_WRITEBACK_CACHE);
	session_unwant(conn, FUSE_CAP_SPLICE_READ);
	session_unwant(conn, FUSE_CAP_SPLICE_WRITE);
	session_unwant(conn, FUSE_CAP_SPLICE_MOVE);

	if (conn->max_write > REQUEST_SIZE_MAX)
		conn->max_write = REQUEST_SIZE_MAX;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
	conn->time_gran = 1;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	/*
	 * nothing here can be broken off, and the library would keep what interrupts a request of a
	 * ring for ever
	 */
	conn->no_interrupt = 1;
#endif
}
