/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See agree.h.
 */
#include "store/agree.h"

#include <string.h>

/* A counter: where it is, and its key.  What it counts for (fixed) is compared, not looked up. */
static guint counter_hash(const void *data)
{
	const struct meter *meter = data;

	return g_str_hash(meter->of->tag) ^ g_str_hash(meter->of->ns) * 31 ^ meter_key_hash(&meter->key);
}

static gboolean counter_equal(const void *a, const void *b)
{
	const struct meter *first = a, *second = b;

	return !meter_key_compare(&first->key, &second->key) && g_str_equal(first->of->tag, second->of->tag) &&
	       g_str_equal(first->of->boot, second->of->boot) && g_str_equal(first->of->ns, second->of->ns);
}

static char *tell(const struct meter *meter, const char *what)
{
	g_autofree char *address = address_to_string(meter->key.address);

	return g_strdup_printf("the baseline of %s%s%s, class %s, in namespace %s %s", kind_name(meter->key.kind),
	                       *address ? " " : "", address, meter->key.class_name, meter->of->ns, what);
}

/* here: of the database, or NULL. */
static char *compare(const struct meter *here, const struct meter *there, bool same_commit)
{
	if (!here)
		return same_commit ? tell(there, "is missing") : NULL;
	if (same_commit)
		return memcmp(&here->last, &there->last, sizeof here->last) || here->fixed != there->fixed ?
		       tell(there, "is not what the second home of the baselines has") : NULL;
	/* One that has begun since then (after a reset) begins where the counter stood. */
	if (counts_is_below(&here->last, &there->last) && here->first_at.boot_us <= there->last_at.boot_us)
		return tell(there, "is lower than in the second home of the baselines");
	return NULL;
}

char *agree_find_difference(const GPtrArray *meters, int64_t commits, const struct baselines *second)
{
	g_autoptr(GHashTable) here = g_hash_table_new(counter_hash, counter_equal);
	bool same_commit = commits == second->commits;
	char *difference = NULL;

	for (unsigned i = 0; i < meters->len; i++)
		g_hash_table_add(here, meters->pdata[i]);
	for (unsigned i = 0; i < second->meters->len && !difference; i++)
		difference = compare(g_hash_table_lookup(here, second->meters->pdata[i]), second->meters->pdata[i],
		                     same_commit);
	if (!difference && same_commit && meters->len != second->meters->len)
		difference = g_strdup_printf("%u open meters, not %u as in the second home of the baselines", meters->len,
		                             second->meters->len);
	return difference;
}
