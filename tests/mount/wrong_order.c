/* SPDX-License-Identifier: MIT */
/*
 * wrong_order.c - loaded into a server: has it order its mounter to mount in another place, as one that was taken over
 * might.
 *
 * Environment: WRONG_PLACE, the other directory
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	static ssize_t (*real)(int, const struct msghdr *, int);
	const struct iovec *order = message->msg_iov;
	char *place = getenv("WRONG_PLACE");

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "sendmsg");
	if (place && order[0].iov_len == 1 && *(const char *)order[0].iov_base == 'm') {
		struct iovec parts[2] = {order[0], {place, strlen(place)}};
		struct msghdr wrong = {.msg_iov = parts, .msg_iovlen = 2};

		return real(fd, &wrong, flags);
	}
	return real(fd, message, flags);
}
