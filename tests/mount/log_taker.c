/* SPDX-License-Identifier: MIT */
/*
 * log_taker.c - takes the place of the system's log: prints what is sent to it, a line each.
 *
 *	log_taker SOCKET
 *
 * Runs until it is killed. The socket is there when it has printed "ready".
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char text[16384];
	ssize_t got;

	if (argc != 2 || fd < 0 || strlen(argv[1]) >= sizeof(path.sun_path))
		return 2;
	strcpy(path.sun_path, argv[1]);
	(void)unlink(argv[1]);
	if (bind(fd, (struct sockaddr *)&path, sizeof(path))) {
		perror(argv[1]);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while ((got = recv(fd, text, sizeof(text), 0)) >= 0)
		printf("%.*s\n", (int)got, text);
	return 1;
}
