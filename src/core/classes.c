/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The classes: a flat list of prefixes with their class and with where they come from, cut into disjoint
 * ranges when a router is planned.  As prefixes are nested or disjoint, one sweep in ascending order with a
 * stack of those that are still open does it.
 */
#include "core/classes.h"

#include <string.h>

/* Who says so; of equal prefixes the later one here wins. */
enum source { SOURCE_ONLINK, SOURCE_DEFAULT, SOURCE_OPERATOR };

struct entry {
	struct prefix prefix;
	const char *class_name; /* interned */
	enum source source;
};

struct classes {
	GArray *entries;    /* of struct entry, in no order */
	bool cloud_is_set;  /* the operator has said what the cloud is */
};

static void add_entry(GArray *entries, const char *name, const struct prefix *prefix, enum source source)
{
	struct entry entry = { .prefix = *prefix, .class_name = g_intern_string(name), .source = source };

	g_array_append_val(entries, entry);
}

struct classes *classes_new(void)
{
	static const struct prefix link_local = { 0xa9fe0000u, 16 }, multicast = { 0xe0000000u, 4 };
	static const struct prefix broadcast = { 0xffffffffu, 32 }, everything = { 0, 0 };
	struct classes *classes = g_new0(struct classes, 1);

	classes->entries = g_array_new(FALSE, TRUE, sizeof(struct entry));
	add_entry(classes->entries, CLASS_INTERNET, &everything, SOURCE_DEFAULT);
	add_entry(classes->entries, CLASS_FREE, &link_local, SOURCE_DEFAULT);
	add_entry(classes->entries, CLASS_FREE, &multicast, SOURCE_DEFAULT);
	add_entry(classes->entries, CLASS_FREE, &broadcast, SOURCE_DEFAULT);
	return classes;
}

void classes_free(struct classes *classes)
{
	if (!classes)
		return;
	g_array_unref(classes->entries);
	g_free(classes);
}

bool class_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	return length <= CLASS_NAME_MAX && g_ascii_islower(name[0]) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

bool classes_add(struct classes *classes, const char *name, const struct prefix *prefix, GError **error)
{
	for (unsigned i = 0; i < classes->entries->len; i++) {
		const struct entry *entry = &g_array_index(classes->entries, struct entry, i);
		g_autofree char *text = NULL;

		if (entry->source != SOURCE_OPERATOR || prefix_compare(&entry->prefix, prefix) != 0)
			continue;
		text = prefix_to_string(prefix);
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "%s stands in class %s already (right: each prefix once)", text, entry->class_name);
		return false;
	}
	add_entry(classes->entries, name, prefix, SOURCE_OPERATOR);
	if (g_str_equal(name, CLASS_CLOUD))
		classes->cloud_is_set = true;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *classes_names(const struct classes *classes)
{
	GPtrArray *names = g_ptr_array_new();
	const char *cloud = g_intern_static_string(CLASS_CLOUD);

	g_ptr_array_add(names, (gpointer)cloud);
	for (unsigned i = 0; i < classes->entries->len; i++) {
		const char *name = g_array_index(classes->entries, struct entry, i).class_name;

		if (!g_ptr_array_find(names, name, NULL))
			g_ptr_array_add(names, (gpointer)name);
	}
	g_ptr_array_sort(names, compare_names);
	return names;
}

/* ---- the sweep ---- */

/* Ascending, what is wider first, and of equal ones the winner last. */
static int compare_entries(const void *a, const void *b)
{
	const struct entry *first = a, *second = b;
	int order = prefix_compare(&first->prefix, &second->prefix);

	return order ? order : (int)first->source - (int)second->source;
}

static GArray *sorted_entries(const struct classes *classes, const GArray *onlink)
{
	GArray *entries = g_array_new(FALSE, TRUE, sizeof(struct entry));

	g_array_append_vals(entries, classes->entries->data, classes->entries->len);
	for (unsigned i = 0; onlink && !classes->cloud_is_set && i < onlink->len; i++)
		add_entry(entries, CLASS_CLOUD, &g_array_index(onlink, struct prefix, i), SOURCE_ONLINK);
	g_array_sort(entries, compare_entries);
	return entries;
}

/* Adds the addresses from *next up to and including last, unless that is none; *next is then the one
 * after. */
static void fill(GArray *ranges, uint64_t *next, uint32_t last, const char *class_name)
{
	struct class_range range = { .first = (uint32_t)*next, .last = last, .class_name = class_name };
	struct class_range *before = ranges->len ?
		&g_array_index(ranges, struct class_range, ranges->len - 1) : NULL;

	if (*next > last)
		return;
	if (before && before->class_name == class_name)
		before->last = last;
	else
		g_array_append_val(ranges, range);
	*next = (uint64_t)last + 1;
}

/* The entries that hold the current address, the deepest last: at most one of each length. */
struct stack {
	const struct entry *open[33];
	unsigned len;
};

GArray *classes_flatten(const struct classes *classes, const GArray *onlink)
{
	GArray *ranges = g_array_new(FALSE, TRUE, sizeof(struct class_range));
	g_autoptr(GArray) entries = sorted_entries(classes, onlink);
	struct stack stack = { .len = 0 };
	uint64_t next = 0;

	for (unsigned i = 0; i < entries->len; i++) {
		const struct entry *entry = &g_array_index(entries, struct entry, i);

		while (stack.len && !prefix_contains(&stack.open[stack.len - 1]->prefix, entry->prefix.address)) {
			stack.len--;
			fill(ranges, &next, prefix_last(&stack.open[stack.len]->prefix),
			     stack.open[stack.len]->class_name);
		}
		if (stack.len && entry->prefix.address > next)
			fill(ranges, &next, entry->prefix.address - 1, stack.open[stack.len - 1]->class_name);
		/* An equal one yields to the later: nothing of it would be left to fill. */
		if (stack.len && !prefix_compare(&stack.open[stack.len - 1]->prefix, &entry->prefix))
			stack.len--;
		stack.open[stack.len++] = entry;
	}
	while (stack.len) {
		stack.len--;
		fill(ranges, &next, prefix_last(&stack.open[stack.len]->prefix), stack.open[stack.len]->class_name);
	}
	return ranges;
}
