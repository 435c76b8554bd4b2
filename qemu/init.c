// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's init. Runs the tests that the kernel command line names and
 * writes KTAP to a serial port of its own, which nothing else writes to: the
 * host takes its verdict from there and never from the console.
 *
 *   phyr.tests=a,b,c    programs /tests/a ... ; "b:x" runs /tests/b with argument x
 *   phyr.timeout=N      seconds that one test may take (default 120)
 *   phyr.verdict=NAME   the serial port below /dev (default ttyS1)
 *
 * A test that exits with 0 passed, with 4 (kselftest's convention) was skipped
 * for the reason in its last line; anything else is a failure. Output that
 * starts with a KTAP version line becomes a subtest, other output diagnostics.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SKIP_STATUS	4

static FILE *verdict;
static char cmdline[4096];

static void off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	/* QEMU runs with -no-reboot: this ends it as well */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void try_mount(const char *what, const char *where, const char *type)
{
	mkdir(where, 0755);
	/* What a kernel lacks is for the test that needs it to miss. */
	if (mount(what, where, type, 0, NULL) && errno != EBUSY && errno != ENODEV)
		fprintf(stderr, "init: mount %s: %s\n", where, strerror(errno));
}

/* The value of a word NAME=value of the kernel command line, or NULL. */
static char *option(const char *name)
{
	size_t len = strlen(name);
	char copy[sizeof(cmdline)], *word, *state;

	strcpy(copy, cmdline);
	for (word = strtok_r(copy, " \n", &state); word;
	     word = strtok_r(NULL, " \n", &state))
		if (!strncmp(word, name, len) && word[len] == '=')
			return strdup(word + len + 1);
	return NULL;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*
 * Copies one line of the test's output to the verdict channel and the console.
 * Returns true once the output is known to be KTAP.
 */
static void put_line(const char *line, bool ktap)
{
	fprintf(verdict, "%s%s\n", ktap ? "    " : "# ", line);
	printf("%s\n", line);
}

static void run_test(int nr, char *name, double timeout)
{
	char path[256], line[1024], last[1024] = "no reason given";
	char *arg = strchr(name, ':');
	int pipefd[2], status = 0;
	bool ktap = false, first = true, late = false;
	double start = now();
	size_t fill = 0;
	pid_t pid;

	snprintf(path, sizeof(path), "/tests/%.*s",
		 (int)(arg ? arg - name : (long)strlen(name)), name);
	printf("init: test %d %s\n", nr, name);
	if (pipe(pipefd) || (pid = fork()) < 0) {
		fprintf(verdict, "# %s\nnot ok %d %s\n", strerror(errno), nr, name);
		return;
	}
	if (!pid) {
		setsid();
		dup2(pipefd[1], 1);
		dup2(pipefd[1], 2);
		close(pipefd[0]);
		close(pipefd[1]);
		chdir("/tests");
		execl(path, path, arg ? arg + 1 : NULL, NULL);
		dprintf(1, "%s: %s\n", path, strerror(errno));
		_exit(127);
	}
	close(pipefd[1]);

	for (;;) {
		struct pollfd p = { .fd = pipefd[0], .events = POLLIN };
		double left = start + timeout - now();
		char c;

		if (left <= 0 || poll(&p, 1, left * 1000 + 1) == 0) {
			late = true;
			break;
		}
		if (read(pipefd[0], &c, 1) <= 0)
			break;
		if (c != '\n' && c != '\r' && fill < sizeof(line) - 1) {
			line[fill++] = c;
			continue;
		}
		if (c == '\r')
			continue;
		line[fill] = 0;
		fill = 0;
		if (first && !strncmp(line, "KTAP version", 12))
			ktap = true;
		first = false;
		put_line(line, ktap);
		strcpy(last, line);
	}
	if (fill) {
		line[fill] = 0;
		put_line(line, ktap);
	}
	/* Whatever the test left behind must not run into the next one. */
	kill(-pid, SIGKILL);
	if (late)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(pipefd[0]);

	fprintf(verdict, "# %s took %.1f s\n", name, now() - start);
	if (late)
		fprintf(verdict, "# timed out after %.0f s\nnot ok %d %s\n", timeout, nr, name);
	else if (WIFSIGNALED(status))
		fprintf(verdict, "# killed by signal %d\nnot ok %d %s\n", WTERMSIG(status), nr, name);
	else if (WEXITSTATUS(status) == SKIP_STATUS)
		fprintf(verdict, "ok %d %s # SKIP %s\n", nr, name, last);
	else if (WEXITSTATUS(status))
		fprintf(verdict, "# exit status %d\nnot ok %d %s\n", WEXITSTATUS(status), nr, name);
	else
		fprintf(verdict, "ok %d %s\n", nr, name);
}

int main(void)
{
	char *tests, *test, *state, *opt, port[64];
	double timeout = 120;
	int fd, n = 0;

	try_mount("none", "/proc", "proc");
	try_mount("none", "/sys", "sysfs");
	try_mount("none", "/dev", "devtmpfs");
	try_mount("none", "/dev/shm", "tmpfs");
	try_mount("none", "/dev/pts", "devpts");
	try_mount("none", "/tmp", "tmpfs");
	try_mount("none", "/run", "tmpfs");
	try_mount("none", "/sys/kernel/debug", "debugfs");
	try_mount("none", "/sys/kernel/tracing", "tracefs");
	symlink("/proc/self/fd", "/dev/fd");
	setenv("PATH", "/tests:/usr/bin:/bin:/usr/sbin:/sbin", 1);
	setenv("HOME", "/root", 1);
	setenv("TERM", "dumb", 1);

	fd = open("/proc/cmdline", O_RDONLY);
	if (fd < 0 || read(fd, cmdline, sizeof(cmdline) - 1) < 0)
		perror("init: /proc/cmdline");
	close(fd);

	snprintf(port, sizeof(port), "/dev/%s", option("phyr.verdict") ?: "ttyS1");
	verdict = fopen(port, "w");
	if (!verdict) {
		fprintf(stderr, "init: %s: %s\n", port, strerror(errno));
		off();
	}
	/* The line discipline would turn every newline into two characters. */
	struct termios raw;

	if (!tcgetattr(fileno(verdict), &raw)) {
		cfmakeraw(&raw);
		tcsetattr(fileno(verdict), TCSANOW, &raw);
	}
	setvbuf(verdict, NULL, _IOLBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);

	opt = option("phyr.timeout");
	if (opt)
		timeout = atof(opt);
	tests = option("phyr.tests") ?: strdup("");
	for (test = tests; *test; test++)
		n += *test == ',';
	fprintf(verdict, "KTAP version 1\n1..%d\n", *tests ? n + 1 : 0);
	n = 0;
	for (test = strtok_r(tests, ",", &state); test; test = strtok_r(NULL, ",", &state))
		run_test(++n, test, timeout);
	fprintf(verdict, "# guest up for %.1f s, all tests ended\n", now());
	fflush(verdict);
	tcdrain(fileno(verdict));
	off();
}
