// SPDX-License-Identifier: GPL-2.0
/*
 * Messages through a pair of KCM sockets, large enough to be sent as skbs with
 * many fragments, and a few of them at once so that the TCP socket below fills
 * up and a message is sent in parts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/kcm.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AF_KCM
#define AF_KCM	41
#endif
#define MESSAGE	60000	/* the parser refuses what SO_RCVBUF would not hold */
#define COUNT	100

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

/* Every message has the same length: the parser need not look at it. */
static int parser(void)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = MESSAGE },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)insns,
		.insn_cnt = 2,
		.license = (uintptr_t)"GPL",
	};
	int fd = syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		die("the parser");
	return fd;
}

static int kcm(int tcp)
{
	struct kcm_attach attach = { .fd = tcp, .bpf_fd = parser() };
	int fd = socket(AF_KCM, SOCK_DGRAM, KCMPROTO_CONNECTED);

	if (fd < 0 || ioctl(fd, SIOCKCMATTACH, &attach))
		die("attaching a TCP socket to KCM");
	return fd;
}

static void fill(unsigned char *buf, int n)
{
	int i;

	for (i = 0; i < MESSAGE; i++)
		buf[i] = (i * 31 + n * 7 + (i >> 9)) & 0xff;
}

int main(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	static unsigned char buf[MESSAGE], want[MESSAGE];
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int listener, a, b, i, status;
	pid_t sender;

	alarm(60);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	ioctl(listener, SIOCSIFFLAGS, &lo);
	a = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (void *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (void *)&addr, &len) || connect(a, (void *)&addr, len))
		die("TCP");
	b = accept(listener, NULL, NULL);
	if (b < 0)
		die("accept");
	a = kcm(a);
	b = kcm(b);

	sender = fork();
	if (!sender) {
		for (i = 0; i < COUNT; i++) {
			fill(buf, i);
			if (send(a, buf, MESSAGE, 0) != MESSAGE)
				die("send");
		}
		return 0;
	}
	for (i = 0; i < COUNT; i++) {
		int n = 0, got;

		do {
			got = recv(b, buf + n, MESSAGE - n, 0);
			if (got <= 0)
				die("recv");
			n += got;
		} while (n < MESSAGE);
		fill(want, i);
		if (memcmp(buf, want, MESSAGE)) {
			printf("message %d is not what was sent\n", i);
			return 1;
		}
	}
	if (waitpid(sender, &status, 0) != sender || status)
		die("the sender");
	printf("%d messages of %d bytes are the same\n", COUNT, MESSAGE);
	return 0;
}
