/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A wall clock that a test can set, for one process: to be preloaded (ld.so(8), LD_PRELOAD).  The machine's own clock is
 * not touched.
 *
 * The file named by FAULT_CLOCK holds one int64_t: by how many microseconds CLOCK_REALTIME is ahead.  The test writes it
 * at any time, and sends SIGRTMIN as clock_settime(2) would wake who waits for that clock: an absolute timer with
 * TFD_TIMER_CANCEL_ON_SET becomes readable and its read(2) fails with ECANCELED (timerfd_create(2)).  An absolute timer
 * that did not ask for this goes off by the old setting, as it would be late or early by the step; the agent has none.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_us;
static volatile sig_atomic_t cancelable = -1; /* the timer that is to hear of a step */
static volatile sig_atomic_t stepped;

/* Libraries ask for the time before begin() has run. */
static int64_t ahead(void)
{
	return ahead_us ? *ahead_us : 0;
}

static void shift(struct timespec *time, int64_t us)
{
	int64_t ns = time->tv_nsec + us % 1000000 * 1000;

	time->tv_sec += us / 1000000;
	if (ns < 0) {
		time->tv_sec--;
		ns += 1000000000;
	} else if (ns >= 1000000000) {
		time->tv_sec++;
		ns -= 1000000000;
	}
	time->tv_nsec = ns;
}

/* Wakes who waits for the timer. */
static void on_step(int number)
{
	const struct itimerspec now = { .it_value.tv_nsec = 1 };

	if (cancelable < 0)
		return;
	stepped = 1;
	syscall(SYS_timerfd_settime, (int)cancelable, 0, &now, NULL);
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAULT_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		abort();
	void *mapped = mmap(NULL, sizeof *ahead_us, PROT_READ, MAP_SHARED, fd, 0);

	close(fd);
	if (mapped == MAP_FAILED)
		abort();
	ahead_us = mapped;
	signal(SIGRTMIN, on_step);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);

	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		shift(time, ahead());
	return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *result)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
	struct itimerspec due = *value;

	if (flags & TFD_TIMER_ABSTIME) {
		shift(&due.it_value, -ahead());
		cancelable = flags & TFD_TIMER_CANCEL_ON_SET ? fd : -1;
		stepped = 0;
	}
	return (int)syscall(SYS_timerfd_settime, fd, flags & ~TFD_TIMER_CANCEL_ON_SET, &due, old);
}

ssize_t read(int fd, void *buffer, size_t size)
{
	ssize_t got = syscall(SYS_read, fd, buffer, size);

	if (fd < 0 || fd != cancelable || !stepped)
		return got;
	stepped = 0;
	errno = ECANCELED;
	return -1;
}
