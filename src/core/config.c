/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration.  GKeyFile parses, one table says which keys there are and who takes their values.
 * GKeyFile lets the last of two equal keys win and joins sections; this is looked for before it is asked.
 */
#include "core/config.h"

#include <string.h>

/* ---- values: each setter returns what would have been right, or NULL if it took the value ---- */

static const char *set_interval(struct config *config, const char *value)
{
	guint64 seconds;

	if (!g_ascii_string_to_unsigned(value, 10, CONFIG_INTERVAL_MIN, CONFIG_INTERVAL_MAX, &seconds, NULL))
		return "whole seconds from 1 to 3600";
	config->interval_s = (int)seconds;
	return NULL;
}

static const char *set_path(char **path, const char *value)
{
	if (!g_path_is_absolute(value))
		return "an absolute path";
	g_free(*path);
	*path = g_strdup(value);
	return NULL;
}

static const char *set_netns_dir(struct config *config, const char *value)
{
	return set_path(&config->netns_dir, value);
}

static const char *set_xtables_lock(struct config *config, const char *value)
{
	return set_path(&config->xtables_lock, value);
}

static const char *set_state_dir(struct config *config, const char *value)
{
	return set_path(&config->state_dir, value);
}

const char *config_judge_backend(const char *value)
{
	static const char *const names[] = { "auto", "nft", "iptables", "ebpf", NULL };

	return g_strv_contains(names, value) ? NULL : "auto, nft, iptables or ebpf";
}

static const char *set_backend(struct config *config, const char *value)
{
	const char *right = config_judge_backend(value);

	if (right)
		return right;
	g_free(config->backend);
	config->backend = g_strdup(value);
	return NULL;
}

static const char *set_ebpf_place(struct config *config, const char *value)
{
	static const char *const names[] = { "auto", "link", "rule", NULL };

	if (!g_strv_contains(names, value))
		return "auto, link or rule";
	g_free(config->ebpf_place);
	config->ebpf_place = g_strdup(value);
	return NULL;
}

static const char *set_out_point(struct config *config, const char *value)
{
	config->out_sent = g_str_equal(value, "egress");
	return config->out_sent || g_str_equal(value, "ingress") ? NULL : "ingress or egress";
}

const char *config_judge_node(const char *value)
{
	for (const char *c = value; *c; c = g_utf8_next_char(c))
		if (!g_unichar_isgraph(g_utf8_get_char(c)))
			return "a name without blanks";
	if (!*value || strlen(value) > CONFIG_NODE_MAX)
		return "a name of at most 255 bytes, such as network-1";
	return NULL;
}

static const char *set_node(struct config *config, const char *value)
{
	const char *right = config_judge_node(value);

	if (right)
		return right;
	g_free(config->node);
	config->node = g_strdup(value);
	return NULL;
}

static const char *set_timezone(struct config *config, const char *value)
{
	GTimeZone *timezone = *value ? g_time_zone_new_identifier(value) : NULL;

	if (!timezone)
		return "a time zone of this host, such as UTC or Europe/Berlin";
	g_time_zone_unref(config->timezone);
	config->timezone = timezone;
	return NULL;
}

static const char *set_days(int *days, const char *value)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(value, 10, 1, CONFIG_KEEP_MAX, &number, NULL))
		return "whole days from 1 to 36500";
	*days = (int)number;
	return NULL;
}

static const char *set_keep_minutes(struct config *config, const char *value)
{
	return set_days(&config->keep_rows_days, value);
}

static const char *set_keep_hours(struct config *config, const char *value)
{
	return set_days(&config->keep_hours_days, value);
}

static const char *set_quota(struct config *config, const char *value)
{
	static const char units[] = "KMGT";
	static const char right[] = "bytes, or with a unit of 1024: 500M, 2G; 0 is no quota";
	size_t length = strlen(value);
	const char *unit = length ? strchr(units, value[length - 1]) : NULL;
	g_autofree char *digits = g_strndup(value, length - (unit ? 1 : 0));
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	guint64 number;

	if (!g_ascii_string_to_unsigned(digits, 10, 0, (guint64)INT64_MAX >> shift, &number, NULL))
		return right;
	config->quota = number << shift;
	return NULL;
}

static const struct key {
	const char *section, *name;
	const char *(*set)(struct config *config, const char *value);
} keys[] = {
	{ "agent", "interval", set_interval },
	{ "agent", "netns_dir", set_netns_dir },
	{ "agent", "backend", set_backend },
	{ "agent", "ebpf_place", set_ebpf_place },
	{ "agent", "out_point", set_out_point },
	{ "agent", "node", set_node },
	{ "agent", "xtables_lock", set_xtables_lock },
	{ "store", "path", set_state_dir },
	{ "store", "timezone", set_timezone },
	{ "store", "keep_minutes", set_keep_minutes },
	{ "store", "keep_hours", set_keep_hours },
	{ "store", "quota", set_quota },
};

#define CLASSES_SECTION "classes"   /* its keys are the operator's */
#define BACKENDS_SECTION "backends" /* its values are */

/* ---- messages ---- */

/* One place of the file, for messages; key NULL: the section as a whole. */
struct place {
	const char *file, *section, *key;
};

static bool G_GNUC_PRINTF(3, 4) refuse(const struct place *place, GError **error, const char *format, ...)
{
	g_autofree char *reason = NULL;
	va_list arguments;

	va_start(arguments, format);
	reason = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	if (place->key)
		g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_INVALID_VALUE, "%s: [%s] %s: %s", place->file,
		            place->section, place->key, reason);
	else
		g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_INVALID_VALUE, "%s: [%s]: %s", place->file,
		            place->section, reason);
	return false;
}

/* "interval, netns_dir, …" of one section, or the sections' names. */
static char *list_known(const char *section)
{
	GString *list = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (section && !g_str_equal(keys[i].section, section))
			continue;
		if (!section && i && g_str_equal(keys[i].section, keys[i - 1].section))
			continue;
		g_string_append_printf(list, "%s%s", list->len ? ", " : "",
		                       section ? keys[i].name : keys[i].section);
	}
	if (!section)
		g_string_append(list, ", " BACKENDS_SECTION ", " CLASSES_SECTION);
	return g_string_free(list, FALSE);
}

/* ---- duplicates ---- */

/* Looks at one line as GKeyFile will; *section is the one that it stands in.  seen: "section" and
 * "section/key". */
static bool note_line(const char *file, char *line, char **section, GHashTable *seen, GError **error)
{
	char *equals, *entry;

	g_strstrip(line);
	equals = strchr(line, '=');
	if (line[0] == '#')
		return true;
	if (line[0] == '[' && g_str_has_suffix(line, "]")) {
		g_free(*section);
		*section = g_strndup(line + 1, strlen(line) - 2);
		if (g_hash_table_add(seen, g_strdup(*section)))
			return true;
		return refuse(&(struct place){ file, *section, NULL }, error,
		              "stands twice (right: each section once)");
	}
	if (!equals || !*section)
		return true;
	*equals = '\0';
	g_strchomp(line);
	entry = g_strdup_printf("%s]%s", *section, line);
	if (g_hash_table_add(seen, entry))
		return true;
	return refuse(&(struct place){ file, *section, line }, error, "stands twice (right: each key once)");
}

static bool refuse_duplicates(const char *text, const char *file, GError **error)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_autofree char *section = NULL;

	for (unsigned i = 0; lines[i]; i++)
		if (!note_line(file, lines[i], &section, seen, error))
			return false;
	return true;
}

/* ---- sections ---- */

static bool take_class(struct config *config, const struct place *place, const char *value, GError **error)
{
	g_auto(GStrv) texts = g_strsplit(value, ",", -1);

	if (!class_name_is_valid(place->key))
		return refuse(place, error, "no name for a class (right: a-z, then a-z, 0-9 and _, at most %d)",
		              CLASS_NAME_MAX);
	for (unsigned i = 0; texts[i]; i++) {
		g_autoptr(GError) reason = NULL;
		struct prefix prefix;

		if (!prefix_parse(g_strstrip(texts[i]), &prefix, &reason) ||
		    !classes_add(config->classes, place->key, &prefix, &reason))
			return refuse(place, error, "%s", reason->message);
	}
	if (!texts[0])
		return refuse(place, error, "is empty (right: prefixes, such as 192.0.2.0/24, 198.51.100.0/24)");
	return true;
}

#define UUID_LEN 36

static bool is_uuid(const char *text)
{
	return strlen(text) == UUID_LEN && g_uuid_string_is_valid(text);
}

/* Routers by the back end that is to count in them. */
static bool take_routers(struct config *config, const struct place *place, const char *value, GError **error)
{
	g_auto(GStrv) routers = g_strsplit(value, ",", -1);

	if (!g_str_equal(place->key, "nft") && !g_str_equal(place->key, "iptables") && !g_str_equal(place->key, "ebpf"))
		return refuse(place, error, "no back end (right: nft, iptables, ebpf)");
	for (unsigned i = 0; routers[i]; i++) {
		g_autofree char *router = g_ascii_strdown(g_strstrip(routers[i]), -1);
		const char *other = g_hash_table_lookup(config->router_backends, router);

		if (!is_uuid(router))
			return refuse(place, error, "'%s' is no router (right: the router's id, a UUID)", router);
		if (other)
			return refuse(place, error, "router %s stands under %s already (right: once)", router, other);
		g_hash_table_insert(config->router_backends, g_steal_pointer(&router),
		                    (void *)g_intern_string(place->key));
	}
	if (!routers[0])
		return refuse(place, error, "is empty (right: ids of routers, separated by commas)");
	return true;
}

static bool take_key(struct config *config, const struct place *place, const char *value, GError **error)
{
	g_autofree char *known = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		const char *right;

		if (!g_str_equal(keys[i].section, place->section) || !g_str_equal(keys[i].name, place->key))
			continue;
		right = keys[i].set(config, value);
		return !right || refuse(place, error, "'%s' does not do (right: %s)", value, right);
	}
	known = list_known(place->section);
	return refuse(place, error, "unknown key (right: %s)", known);
}

static bool is_known_section(const char *section)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		if (g_str_equal(keys[i].section, section))
			return true;
	return g_str_equal(section, CLASSES_SECTION) || g_str_equal(section, BACKENDS_SECTION);
}

static bool take_section(struct config *config, GKeyFile *parsed, struct place place, GError **error)
{
	g_auto(GStrv) names = g_key_file_get_keys(parsed, place.section, NULL, NULL);
	bool (*take)(struct config *, const struct place *, const char *, GError **) =
		g_str_equal(place.section, CLASSES_SECTION) ? take_class :
		g_str_equal(place.section, BACKENDS_SECTION) ? take_routers : take_key;

	if (!is_known_section(place.section)) {
		g_autofree char *known = list_known(NULL);

		return refuse(&place, error, "unknown section (right: %s)", known);
	}
	for (unsigned i = 0; names && names[i]; i++) {
		g_autofree char *value = g_key_file_get_value(parsed, place.section, names[i], NULL);

		place.key = names[i];
		g_strstrip(value);
		if (!take(config, &place, value, error))
			return false;
	}
	return true;
}

/* ---- the whole ---- */

struct config *config_new(void)
{
	struct config *config = g_new0(struct config, 1);

	config->interval_s = 60;
	config->netns_dir = g_strdup("/run/netns");
	config->backend = g_strdup("auto");
	config->ebpf_place = g_strdup("auto");
	config->state_dir = g_strdup("/var/lib/fipmeter");
	config->timezone = g_time_zone_new_utc();
	config->keep_rows_days = 35;
	config->keep_hours_days = 400;
	config->classes = classes_new();
	config->router_backends = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return config;
}

void config_override(char **setting, const char *option)
{
	if (!option)
		return;
	g_free(*setting);
	*setting = g_strdup(option);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	g_free(config->netns_dir);
	g_free(config->backend);
	g_free(config->ebpf_place);
	g_free(config->node);
	g_free(config->xtables_lock);
	g_free(config->state_dir);
	g_time_zone_unref(config->timezone);
	classes_free(config->classes);
	g_hash_table_unref(config->router_backends);
	g_free(config);
}

struct config *config_parse(const char *text, size_t length, const char *file, GError **error)
{
	SCOPED(config) *config = config_new();
	g_autoptr(GKeyFile) parsed = g_key_file_new();
	g_autoptr(GError) reason = NULL;
	g_auto(GStrv) sections = NULL;

	if (strlen(text) != length) {
		g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_PARSE,
		            "%s: holds a NUL byte (right: a text file)", file);
		return NULL;
	}
	if (!g_utf8_validate(text, -1, NULL)) {
		g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_UNKNOWN_ENCODING,
		            "%s: is not UTF-8 (right: a text file in UTF-8)", file);
		return NULL;
	}
	if (!refuse_duplicates(text, file, error))
		return NULL;
	/* Without KEEP_TRANSLATIONS a key like interval[de] would vanish unseen. */
	if (!g_key_file_load_from_data(parsed, text, (gsize)-1, G_KEY_FILE_KEEP_TRANSLATIONS, &reason)) {
		g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_PARSE,
		            "%s: %s (right: [section], then key = value; # begins a remark)", file, reason->message);
		return NULL;
	}
	sections = g_key_file_get_groups(parsed, NULL);
	for (unsigned i = 0; sections[i]; i++)
		if (!take_section(config, parsed, (struct place){ file, sections[i], NULL }, error))
			return NULL;
	if (config->keep_hours_days < config->keep_rows_days) {
		refuse(&(struct place){ file, "store", "keep_hours" }, error, "%d is less than keep_minutes (right: at least %d)",
		       config->keep_hours_days, config->keep_rows_days);
		return NULL;
	}
	return g_steal_pointer(&config);
}
