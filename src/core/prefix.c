/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPv4 prefixes.  Two of them are either disjoint or one lies in the other; all here rests on that.
 */
#include "core/prefix.h"

#include <string.h>

/* The bits that an address may not have set beyond length. */
static uint32_t host_bits(unsigned length)
{
	return length ? (uint32_t)((UINT64_C(1) << (32 - length)) - 1) : UINT32_MAX;
}

/* One or two digits, up to 32; no sign, no blank, no leading zero. */
static bool parse_length(const char *text, unsigned *length)
{
	guint64 value;

	if (!g_ascii_isdigit(text[0]) || (text[0] == '0' && text[1]))
		return false;
	if (!g_ascii_string_to_unsigned(text, 10, 0, 32, &value, NULL))
		return false;
	*length = (unsigned)value;
	return true;
}

bool prefix_parse(const char *text, struct prefix *prefix, GError **error)
{
	const char *slash = strchr(text, '/');
	g_autofree char *address_text = slash ? g_strndup(text, slash - text) : g_strdup(text);
	unsigned length = 32;
	uint32_t address;

	if (!address_from_string(address_text, &address) || (slash && !parse_length(slash + 1, &length))) {
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' is no IPv4 prefix (right: 192.0.2.0/24, or 192.0.2.1)", text);
		return false;
	}
	if (address & host_bits(length)) {
		struct prefix meant = { .address = address & ~host_bits(length), .length = (uint8_t)length };
		g_autofree char *right = prefix_to_string(&meant);

		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' has bits set beyond its length (right: %s, or %s/32)", text, right, address_text);
		return false;
	}
	*prefix = (struct prefix){ .address = address, .length = (uint8_t)length };
	return true;
}

char *prefix_to_string(const struct prefix *prefix)
{
	uint32_t address = prefix->address;

	return g_strdup_printf("%u.%u.%u.%u/%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
	                       address & 255, prefix->length);
}

int prefix_compare(const struct prefix *a, const struct prefix *b)
{
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return a->length - b->length;
}

uint32_t prefix_first(const struct prefix *prefix)
{
	return prefix->address;
}

uint32_t prefix_last(const struct prefix *prefix)
{
	return prefix->address | host_bits(prefix->length);
}

bool prefix_contains(const struct prefix *prefix, uint32_t address)
{
	return address >= prefix_first(prefix) && address <= prefix_last(prefix);
}

const struct prefix *prefixes_find(const GArray *prefixes, uint32_t address)
{
	for (unsigned i = 0; i < prefixes->len; i++)
		if (prefix_contains(&g_array_index(prefixes, struct prefix, i), address))
			return &g_array_index(prefixes, struct prefix, i);
	return NULL;
}

static int compare_entries(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

GArray *prefixes_disjoint(const GArray *prefixes)
{
	GArray *disjoint = g_array_sized_new(FALSE, TRUE, sizeof(struct prefix), prefixes->len);
	g_autoptr(GArray) sorted = g_array_sized_new(FALSE, TRUE, sizeof(struct prefix), prefixes->len);

	g_array_append_vals(sorted, prefixes->data, prefixes->len);
	g_array_sort(sorted, compare_entries);
	for (unsigned i = 0; i < sorted->len; i++) {
		const struct prefix *each = &g_array_index(sorted, struct prefix, i);
		const struct prefix *kept = disjoint->len ?
			&g_array_index(disjoint, struct prefix, disjoint->len - 1) : NULL;

		if (!kept || !prefix_contains(kept, each->address))
			g_array_append_vals(disjoint, each, 1);
	}
	return disjoint;
}
