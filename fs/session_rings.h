/* SPDX-License-Identifier: MIT */
/*
 * session_rings.h - the library's rings, for a process that forbids itself to make rings.
 *
 * What is asked of a ring passes no filter of system calls: whoever may make one can open, connect
 * and send by it. So the rings are made before, restricted to what the library asks of them, and
 * handed to it when it makes its own.
 */
#ifndef SESSION_RINGS_H
#define SESSION_RINGS_H

/*
 * As many as the library starts, one for each processor. In the process that will serve, before
 * threads. Where they cannot be had the library makes its own, or goes back to the device.
 */
void session_rings_make(void);

#endif
