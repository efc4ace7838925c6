/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ethtool.h.  Features have no fixed numbers: the names are asked for first, then the bits in that order.
 */
#include "kernel/ethtool.h"

#include "kernel/netns.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FEATURES_MAX 1024 /* a kernel of 2025 has some 60 */
#define BITS 32           /* in a block of ethtool_gfeatures */

struct question {
	const char *device, *feature;
	bool active;
};

/* False with errno set. */
static bool ask(int fd, const char *device, void *command)
{
	struct ifreq request = { .ifr_data = command };

	g_strlcpy(request.ifr_name, device, sizeof request.ifr_name);
	return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

static bool count_features(int fd, const char *device, unsigned *n)
{
	union {
		struct ethtool_sset_info info;
		char room[sizeof(struct ethtool_sset_info) + sizeof(__u32)];
	} asked = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = UINT64_C(1) << ETH_SS_FEATURES } };

	if (!ask(fd, device, &asked))
		return false;
	*n = asked.info.sset_mask ? asked.info.data[0] : 0;
	errno = E2BIG;
	return *n <= FEATURES_MAX;
}

/* -1 with errno 0: it has none of that name. */
static int find_feature(int fd, const char *device, const char *feature, unsigned n)
{
	g_autofree struct ethtool_gstrings *names = g_malloc0(sizeof *names + (size_t)n * ETH_GSTRING_LEN);

	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = n;
	if (!ask(fd, device, names))
		return -1;
	errno = 0;
	for (unsigned i = 0; i < MIN(n, names->len); i++)
		if (!strncmp((const char *)names->data + (size_t)i * ETH_GSTRING_LEN, feature, ETH_GSTRING_LEN))
			return (int)i;
	return -1;
}

static bool get_feature(int fd, struct question *question)
{
	g_autofree struct ethtool_gfeatures *bits = NULL;
	unsigned n;
	int number;

	if (!count_features(fd, question->device, &n))
		return false;
	number = find_feature(fd, question->device, question->feature, n);
	if (number < 0)
		return !errno;
	bits = g_malloc0(sizeof *bits + (n + BITS - 1) / BITS * sizeof bits->features[0]);
	bits->cmd = ETHTOOL_GFEATURES;
	bits->size = (n + BITS - 1) / BITS;
	if (!ask(fd, question->device, bits))
		return false;
	question->active = bits->features[number / BITS].active & 1U << number % BITS;
	return true;
}

static bool ask_inside(void *data, GError **error)
{
	struct question *question = data;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool done = fd >= 0 && (get_feature(fd, question) || errno == EOPNOTSUPP);

	if (!done)
		g_set_error(error, ETHTOOL_ERROR, 0, "cannot ask for the features of device %s: %s", question->device,
		            g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return done;
}

bool ethtool_has_feature(int ns_fd, const char *device, const char *feature, bool *active, GError **error)
{
	struct question question = { .device = device, .feature = feature };

	if (!netns_call(ns_fd, ask_inside, &question, error))
		return false;
	*active = question.active;
	return true;
}
