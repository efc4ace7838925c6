/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ipset over netlink, against the kernel: above all what its elements start with, for that is what is billed.
 */
#include "kernel/ipset.h"
#include "kernel/netns.h"

#include <string.h>
#include <unistd.h>

#define BASE 0x0a000000u /* 10.0.0.0 */

struct ground {
	int ns_fd;
	struct netlink *netlink;
};

static void set_up(struct ground *ground, const void *data)
{
	g_autoptr(GError) error = NULL;

	ground->ns_fd = netns_new(&error);
	g_assert_no_error(error);
	ground->netlink = netlink_open(ground->ns_fd, NETLINK_NETFILTER, &error);
	g_assert_no_error(error);
}

static void tear_down(struct ground *ground, const void *data)
{
	netlink_close(ground->netlink);
	close(ground->ns_fd);
}

/* Sends what is in the batch; the error's code, or -1. */
static int commit(const struct ground *ground, struct ipset_batch *batch, char **message)
{
	g_autoptr(GError) error = NULL;
	bool done = ipset_batch_commit(batch, ground->netlink, &error);

	ipset_batch_free(batch);
	g_assert_true(done == !error);
	if (error && message)
		*message = g_strdup(error->message);
	return error ? error->code : -1;
}

static void create(const struct ground *ground, const char *set, enum ipset_type type, bool counts, uint32_t elements)
{
	struct ipset_batch *batch = ipset_batch_new();

	ipset_batch_create(batch, set, type, counts, ipset_hashsize(elements, counts));
	g_assert_cmpint(commit(ground, batch, NULL), ==, -1);
}

static struct ipset_element element(uint32_t i, uint64_t packets)
{
	return (struct ipset_element){ .address = BASE + i, .length = 32, .packets = packets, .bytes = packets * 100 };
}

static int add(const struct ground *ground, const char *set, uint32_t first, uint32_t n, uint64_t packets)
{
	struct ipset_batch *batch = ipset_batch_new();

	for (uint32_t i = first; i < first + n; i++) {
		struct ipset_element each = element(i, packets);

		each.comment = "traffic";
		ipset_batch_add(batch, set, true, &each);
	}
	return commit(ground, batch, NULL);
}

/* What one set holds. */
struct listing {
	const char *set;
	unsigned elements, wrong;
	uint64_t packets; /* what each should have */
	uint32_t hashsize;
	size_t longest;
};

static bool take(const struct ipset_set *set, const struct ipset_element *each, void *data, GError **error)
{
	struct listing *listing = data;

	if (!g_str_equal(set->name, listing->set))
		return true;
	listing->hashsize = set->hashsize;
	if (!each)
		return true;
	listing->elements++;
	listing->wrong += each->packets != listing->packets || each->bytes != listing->packets * 100;
	listing->longest = MAX(listing->longest, each->comment ? strlen(each->comment) : 0);
	return true;
}

static struct listing list(const struct ground *ground, const char *set, uint64_t packets)
{
	struct listing listing = { .set = set, .packets = packets };
	g_autoptr(GError) error = NULL;

	ipset_each(ground->netlink, take, &listing, &error);
	g_assert_no_error(error);
	return listing;
}

/* Without its own values an element may be given those of a dead one, whose memory it gets: 48 of 50 were. */
static void test_a_new_element_inherits_nothing(struct ground *ground, const void *data)
{
	struct ipset_batch *batch = ipset_batch_new();
	struct listing listing;

	create(ground, "counts", IPSET_ADDRESSES, true, 200);
	g_assert_cmpint(add(ground, "counts", 0, 200, 7), ==, -1);
	g_assert_cmpuint(list(ground, "counts", 7).wrong, ==, 0); /* initial values are taken */
	for (uint32_t i = 0; i < 200; i++) {
		struct ipset_element each = element(i, 0);

		ipset_batch_delete(batch, "counts", &each);
	}
	g_assert_cmpint(commit(ground, batch, NULL), ==, -1);
	g_assert_cmpint(add(ground, "counts", 0, 200, 0), ==, -1);
	listing = list(ground, "counts", 0);
	g_assert_cmpuint(listing.elements, ==, 200);
	g_assert_cmpuint(listing.wrong, ==, 0);
}

static void test_an_element_that_is_there_is_left_alone(struct ground *ground, const void *data)
{
	struct ipset_batch *batch = ipset_batch_new();
	struct ipset_element each = element(5, 0);
	g_autofree char *message = NULL;

	create(ground, "counts", IPSET_ADDRESSES, true, 10);
	g_assert_cmpint(add(ground, "counts", 5, 1, 7), ==, -1);
	ipset_batch_add(batch, "counts", true, &each);
	g_assert_cmpint(commit(ground, batch, &message), ==, NETLINK_ERROR_EXISTS);
	g_assert_cmpstr(message, ==, "ipset add counts 10.0.0.5: it is there already");
	g_assert_cmpuint(list(ground, "counts", 7).wrong, ==, 0);
}

static void test_a_refusal_undoes_nothing_else(struct ground *ground, const void *data)
{
	struct ipset_batch *batch = ipset_batch_new();
	g_autofree char *message = NULL;

	create(ground, "counts", IPSET_ADDRESSES, true, 10);
	for (uint32_t i = 0; i < 3; i++) {
		struct ipset_element each = element(i, 0);

		ipset_batch_add(batch, i == 1 ? "missing" : "counts", true, &each);
	}
	g_assert_cmpuint(ipset_batch_length(batch), ==, 3);
	g_assert_cmpint(commit(ground, batch, &message), ==, NETLINK_ERROR_MISSING);
	g_assert_cmpstr(message, ==, "ipset add missing 10.0.0.1: there is no such set");
	g_assert_cmpuint(list(ground, "counts", 0).elements, ==, 2);
}

static void test_a_dump_of_ten_thousand_is_whole_and_its_set_has_not_grown(struct ground *ground, const void *data)
{
	struct listing listing;

	create(ground, "counts", IPSET_ADDRESSES, true, 10000);
	create(ground, "another", IPSET_ADDRESSES, true, 10);
	g_assert_cmpint(add(ground, "another", 0, 10, 1), ==, -1);
	g_assert_cmpint(add(ground, "counts", 0, 10000, 3), ==, -1);
	listing = list(ground, "counts", 3);
	g_assert_cmpuint(listing.elements, ==, 10000);
	g_assert_cmpuint(listing.wrong, ==, 0);
	g_assert_cmpuint(listing.hashsize, ==, ipset_hashsize(10000, true));
}

static void test_comments_of_any_allowed_length(struct ground *ground, const void *data)
{
	struct ipset_batch *batch = ipset_batch_new();
	struct ipset_element each = element(1, 0);
	g_autofree char *longest = g_strnfill(IPSET_COMMENT_MAX, 'x');

	create(ground, "counts", IPSET_ADDRESSES, true, 10);
	each.comment = longest;
	ipset_batch_add(batch, "counts", true, &each);
	g_assert_cmpint(commit(ground, batch, NULL), ==, -1);
	g_assert_cmpuint(list(ground, "counts", 0).longest, ==, IPSET_COMMENT_MAX);
}

static void test_prefixes(struct ground *ground, const void *data)
{
	struct ipset_batch *batch = ipset_batch_new();
	struct ipset_element half = { .address = 0x80000000u, .length = 1 }, all = { .address = 0, .length = 0 };

	create(ground, "nets", IPSET_PREFIXES, false, 10);
	ipset_batch_add(batch, "nets", false, &half);
	g_assert_cmpint(commit(ground, batch, NULL), ==, -1);
	g_assert_cmpuint(list(ground, "nets", 0).elements, ==, 1);
	batch = ipset_batch_new();
	ipset_batch_add(batch, "nets", false, &all);
	g_assert_cmpint(commit(ground, batch, NULL), ==, NETLINK_ERROR_FAILED);
}

static void test_what_is_not_there_is_said(struct ground *ground, const void *data)
{
	struct ipset_batch *batch = ipset_batch_new();
	struct ipset_element each = element(1, 0);
	g_autoptr(GError) error = NULL;

	g_assert_cmpuint(list(ground, "counts", 0).elements, ==, 0); /* no set at all: no error */
	create(ground, "counts", IPSET_ADDRESSES, true, 10);
	ipset_batch_delete(batch, "counts", &each);
	g_assert_cmpint(commit(ground, batch, NULL), ==, NETLINK_ERROR_MISSING);
	batch = ipset_batch_new();
	ipset_batch_destroy(batch, "nobody");
	g_assert_cmpint(commit(ground, batch, NULL), ==, NETLINK_ERROR_MISSING);
	batch = ipset_batch_new();
	ipset_batch_create(batch, "counts", IPSET_ADDRESSES, true, 1024);
	g_assert_cmpint(commit(ground, batch, NULL), ==, NETLINK_ERROR_EXISTS);
	g_assert_cmpint(commit(ground, ipset_batch_new(), NULL), ==, -1);
}

static void test_hashsizes(void)
{
	g_assert_cmpuint(ipset_hashsize(0, false), ==, 64);
	g_assert_cmpuint(ipset_hashsize(0, true), ==, 1024);
	g_assert_cmpuint(ipset_hashsize(128, true), ==, 1024);
	g_assert_cmpuint(ipset_hashsize(129, true), ==, 2048);
	g_assert_cmpuint(ipset_hashsize(10000, true), ==, 131072);
	g_assert_cmpuint(ipset_hashsize(UINT32_MAX, true), ==, 1u << 31);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define CASE(name) g_test_add("/ipset/" #name, struct ground, NULL, set_up, test_##name, tear_down)
	CASE(a_new_element_inherits_nothing);
	CASE(an_element_that_is_there_is_left_alone);
	CASE(a_refusal_undoes_nothing_else);
	CASE(a_dump_of_ten_thousand_is_whole_and_its_set_has_not_grown);
	CASE(comments_of_any_allowed_length);
	CASE(prefixes);
	CASE(what_is_not_there_is_said);
	g_test_add_func("/ipset/hashsizes", test_hashsizes);
	return g_test_run();
}
