/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See bulletin.h.  Between two samples a cycle is about few routers, and there may be forty a second: what is told of
 * each router is kept as JSON, and made anew only for those that the cycle was about.  It is kept as text, and floating IPs
 * are written as text: a node may have 100,000 of them, and a tree takes ten times the memory.
 */
#include "cmd/bulletin.h"

#include "cmd/node.h"
#include "core/plan.h"
#include "kernel/clock.h"
#include "kernel/lock.h"
#include "kernel/xtlock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX ".json"
#define SYSTEMS_DIR "/run/netns" /* the only one that ip(8) knows */

struct bulletin {
	char *path, *temporary;
	gid_t group;          /* may read; (gid_t)-1: there is no such group */
	int64_t started_us, sampled_us, kept_us;
	char *failure, *locks;
	GHashTable *routers; /* namespace -> struct told */
	json_t *problems;
};

struct told { /* of a router */
	char *name;     /* its namespace, as a string of JSON */
	char *text;     /* an object of JSON, open at its end: the time of its last reading is to follow */
	char *generation;
	const struct backend *backend;
	uint64_t look;  /* as in struct plan */
	int64_t read_us;
};

static void told_free(void *data)
{
	struct told *told = data;

	free(told->name);
	g_free(told->text);
	g_free(told->generation);
	g_free(told);
}

struct bulletin *bulletin_new(const char *netns_dir)
{
	struct bulletin *bulletin = g_new0(struct bulletin, 1);
	const struct group *group = getgrnam(STORE_GROUP);
	g_autofree char *directory = NULL;

	bulletin->path = node_run_path(netns_dir, SUFFIX);
	bulletin->temporary = g_strconcat(bulletin->path, ".new", NULL);
	bulletin->group = group ? group->gr_gid : (gid_t)-1;
	bulletin->started_us = clock_now().utc_us;
	bulletin->failure = g_strdup("");
	bulletin->locks = g_strdup("");
	bulletin->routers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, told_free);
	bulletin->problems = json_object();
	directory = g_path_get_dirname(bulletin->path);
	if (group && chown(directory, (uid_t)-1, group->gr_gid) < 0)
		bulletin->group = (gid_t)-1; /* not ours to give: root alone reads */
	return bulletin;
}

void bulletin_free(struct bulletin *bulletin)
{
	if (!bulletin)
		return;
	unlink(bulletin->path);
	g_free(bulletin->path);
	g_free(bulletin->temporary);
	g_free(bulletin->failure);
	g_free(bulletin->locks);
	g_hash_table_unref(bulletin->routers);
	json_decref(bulletin->problems);
	g_free(bulletin);
}

void bulletin_move(struct bulletin *bulletin, const char *netns_dir)
{
	unlink(bulletin->path);
	g_free(bulletin->path);
	g_free(bulletin->temporary);
	bulletin->path = node_run_path(netns_dir, SUFFIX);
	bulletin->temporary = g_strconcat(bulletin->path, ".new", NULL);
}

/* ---- what is told of a router ---- */

static json_t *text_json(const char *text)
{
	g_autofree char *printable = cmd_escape(text);

	return json_string(printable);
}

static json_t *address_json(uint32_t address)
{
	g_autofree char *text = address_to_string(address);

	return json_string(text);
}

static const char *role_of(const struct site *site)
{
	return !site->router ? "" : !site->router->external ? "internal" : site->plan->standby ? "standby" : "master";
}

/* ip(8) looks into one directory alone; elsewhere nsenter(1) has to be told the file. */
char *bulletin_command(const char *netns_dir, const char *ns, const char *command)
{
	g_autofree char *file = NULL, *quoted = NULL;

	if (g_str_equal(netns_dir, SYSTEMS_DIR))
		return g_strdup_printf("ip netns exec %s %s", ns, command);
	file = g_build_filename(netns_dir, ns, NULL);
	quoted = g_shell_quote(file);
	return g_strdup_printf("nsenter --net=%s %s", quoted, command);
}

char *bulletin_list_command(const char *netns_dir, const char *ns, const struct backend *backend)
{
	return backend->list_outside ? g_strdup(backend->list) : bulletin_command(netns_dir, ns, backend->list);
}

/* What comes before its floating IPs, ... */
static json_t *router_json(const struct site *site)
{
	const struct router *router = site->router;

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:b}",
		"router", router ? router->name : router_name_of(site->ns), "namespace", site->ns,
		"flavour", router ? flavour_name(router->flavour) : "", "backend", site->backend->name,
		"role", role_of(site), "dvr", router && router->dvr,
		"gateway", address_json(router ? router->gateway : 0),
		"gateway_served", router && router->gateway_served);
}

/* ... and behind them.  generation: of its last reading. */
static json_t *counters_json(const struct node *node, const struct site *site, const char *generation)
{
	g_autofree char *list = bulletin_list_command(node->config->netns_dir, site->ns, site->backend);

	return json_pack("{s:o, s:o, s:s}",
		"list_command", text_json(list), "generation", text_json(generation),
		"basis", basis_name(site->plan ? plan_basis(site->plan, site->backend->basis) : site->backend->basis));
}

/* The text of a JSON value, which it frees; NULL if there is none (a name that is not UTF-8, no memory).  The caller frees
 * it. */
static char *text_of(json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	json_decref(value);
	return text;
}

/* The members of an object of JSON, without its braces. */
static void append_members(GString *text, const char *object)
{
	g_string_append_len(text, object + 1, (gssize)strlen(object) - 2);
}

static void append_floating(GString *text, const struct router *router)
{
	g_string_append(text, "\"floating\":[");
	for (unsigned i = 0; router && i < router->floating->len; i++) {
		const struct floating *each = &g_array_index(router->floating, struct floating, i);
		g_autofree char *address = address_to_string(each->address), *fixed = address_to_string(each->fixed);

		g_string_append_printf(text, "%s{\"address\":\"%s\",\"fixed\":\"%s\",\"served\":%s}", i ? "," : "", address, fixed,
		                       each->served ? "true" : "false");
	}
	g_string_append_c(text, ']');
}

/* NULL as text_of(). */
static char *router_text(const struct node *node, const struct site *site, const char *generation)
{
	char *before = text_of(router_json(site)), *behind = text_of(counters_json(node, site, generation));
	GString *text = before && behind ? g_string_new("{") : NULL;

	if (text) {
		append_members(text, before);
		g_string_append_c(text, ',');
		append_floating(text, site->router);
		g_string_append_c(text, ',');
		append_members(text, behind);
	}
	free(before);
	free(behind);
	return text ? g_string_free(text, FALSE) : NULL;
}

static uint64_t look_of(const struct site *site)
{
	return site->plan ? site->plan->look : 0;
}

/* What its text is made of is what it was made of before. */
static bool is_told(const struct told *told, const struct site *site)
{
	return told && told->text && told->look && told->look == look_of(site) && told->backend == site->backend &&
	       (!site->found || !g_strcmp0(told->generation, site->found->generation));
}

/* A site that could not be read keeps its last reading.  True if something else than the time of that is new. */
static bool tell_router(const struct node *node, const struct site *site)
{
	GHashTable *routers = node->bulletin->routers;
	struct told *told, *former = g_hash_table_lookup(routers, site->ns);
	int64_t read_us = site->found ? site->found->at.utc_us : former ? former->read_us : 0;
	bool is_new;

	if (is_told(former, site)) {
		former->read_us = read_us;
		return false;
	}
	told = g_new0(struct told, 1);
	told->generation = g_strdup(site->found ? site->found->generation : former ? former->generation : NULL);
	told->backend = site->backend;
	told->look = look_of(site);
	told->read_us = read_us;
	told->name = text_of(json_string(site->ns));
	told->text = router_text(node, site, told->generation ? told->generation : "");
	is_new = !former || g_strcmp0(told->text, former->text);
	g_hash_table_replace(routers, g_strdup(site->ns), told);
	return is_new;
}

/* ---- what is told of the node ---- */

static gboolean is_gone(void *ns, void *told, void *node)
{
	const struct site *site = g_hash_table_lookup(((const struct node *)node)->sites, ns);

	return !site || site->gone;
}

static bool tell_routers(const struct node *node)
{
	bool is_new = false;

	for (unsigned i = 0; i < node->turn->len; i++)
		is_new |= tell_router(node, node->turn->pdata[i]);
	return g_hash_table_foreach_remove(node->bulletin->routers, is_gone, (void *)node) > 0 || is_new;
}

static bool tell_problems(const struct node *node)
{
	struct bulletin *bulletin = node->bulletin;
	json_t *problems = json_object();
	GHashTableIter each;
	void *about, *message;
	bool is_new;

	g_hash_table_iter_init(&each, node->complaints);
	while (g_hash_table_iter_next(&each, &about, &message)) {
		g_autofree char *printable = cmd_escape(about);

		json_object_set_new(problems, printable, text_json(message));
	}
	is_new = !json_equal(problems, bulletin->problems);
	json_decref(bulletin->problems);
	bulletin->problems = problems;
	return is_new;
}

static void set_text(char **text, const char *value)
{
	g_free(*text);
	*text = g_strdup(value);
}

/* A change that could not be kept counts as much as a sample; only a sample that could tells that all is well again. */
static bool tell_failure(const struct node *node, const GError *failure)
{
	struct bulletin *bulletin = node->bulletin;
	const char *message = failure ? failure->message : node->all ? "" : bulletin->failure;
	bool is_new = !g_str_equal(message, bulletin->failure);

	if (is_new)
		set_text(&bulletin->failure, message);
	return is_new;
}

static bool uses_legacy_tables(const struct node *node)
{
	GHashTableIter each;
	void *site;

	g_hash_table_iter_init(&each, node->sites);
	while (g_hash_table_iter_next(&each, NULL, &site))
		if (((struct site *)site)->backend == node->backends[BACKEND_IPTABLES])
			return true;
	return false;
}

static void tell_locks(const struct node *node)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *locks = NULL;

	if (uses_legacy_tables(node))
		locks = xtlock_describe(node->config->xtables_lock, &error);
	set_text(&node->bulletin->locks, locks ? locks : error ? error->message : "");
}

/* Where the programs of ebpf stand, if they do. */
static const char *ebpf_stands(const struct node *node)
{
	const struct backend *backend = node->backends[BACKEND_EBPF];

	return backend && backend->stands ? backend->stands : "";
}

static json_t *head_json(const struct node *node)
{
	const struct bulletin *bulletin = node->bulletin;

	return json_pack("{s:o, s:i, s:s, s:I, s:i, s:o, s:o, s:s, s:I, s:I, s:o, s:b, s:o, s:s, s:O}",
		"node", text_json(node->name), "pid", (int)getpid(), "version", FIPMETER_VERSION,
		"started", (json_int_t)bulletin->started_us, "interval_s", node->config->interval_s,
		"netns_dir", text_json(node->config->netns_dir), "state_dir", text_json(node->config->state_dir),
		"backend", node->usual->name, "sampled", (json_int_t)bulletin->sampled_us,
		"kept", (json_int_t)bulletin->kept_us, "failure", text_json(bulletin->failure),
		"events", node->watch != NULL, "locks", text_json(bulletin->locks), "ebpf", ebpf_stands(node),
		"problems", bulletin->problems);
}

/* ---- writing ---- */

/* By name. */
static void put_routers(FILE *file, GHashTable *routers)
{
	GList *names = g_list_sort(g_hash_table_get_keys(routers), (GCompareFunc)strcmp);
	const char *comma = "";

	for (const GList *each = names; each; each = each->next) {
		const struct told *told = g_hash_table_lookup(routers, each->data);

		if (!told->name || !told->text)
			continue;
		fprintf(file, "%s%s:%s,\"last_reading\":%" G_GINT64_FORMAT "}", comma, told->name, told->text, told->read_us);
		comma = ",";
	}
	g_list_free(names);
}

/* head: an object. */
static void put_all(FILE *file, const char *head, const struct node *node)
{
	fwrite(head, 1, strlen(head) - 1, file); /* open at its end */
	fputs(",\"routers\":{", file);
	put_routers(file, node->bulletin->routers);
	fputs("}}", file);
}

static FILE *open_temporary(const struct bulletin *bulletin)
{
	int fd = open(bulletin->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (fd >= 0 && !file)
		close(fd);
	if (file && bulletin->group != (gid_t)-1 && fchown(fd, (uid_t)-1, bulletin->group) < 0)
		errno = 0; /* root alone reads, then */
	return file;
}

/* Closes the file.  False, with errno, if anything of it could not be written. */
static bool is_written(FILE *file)
{
	bool failed = ferror(file), closed = fclose(file) == 0;

	if (closed && failed)
		errno = EIO; /* which one it was is not known any more */
	return closed && !failed;
}

/* Not synced to a disk: after a crash of the machine no agent runs and nobody asks. */
static bool write_file(const struct node *node, GError **error)
{
	const struct bulletin *bulletin = node->bulletin;
	const char *path = bulletin->temporary;
	char *head = text_of(head_json(node));
	FILE *file = head ? open_temporary(bulletin) : NULL;
	bool done = file;

	if (file) {
		put_all(file, head, node);
		done = is_written(file);
	} else if (!head) {
		errno = ENOMEM;
	}
	if (done) {
		path = bulletin->path;
		done = rename(bulletin->temporary, path) == 0;
	}
	if (!done) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: %s", path, g_strerror(errno));
		unlink(bulletin->temporary);
	}
	free(head);
	return done;
}

void bulletin_post(struct node *node, const GError *failure)
{
	struct bulletin *bulletin = node->bulletin;
	g_autoptr(GError) error = NULL;
	bool is_new;

	if (!bulletin)
		return;
	is_new = tell_routers(node) | tell_problems(node) | tell_failure(node, failure) | node->all;
	if (!is_new)
		return;
	if (node->all) {
		bulletin->sampled_us = clock_now().utc_us;
		bulletin->kept_us = failure ? bulletin->kept_us : bulletin->sampled_us;
		tell_locks(node);
	}
	if (!write_file(node, &error))
		node_complain(node, "what `fipmeter status` reads", error->message);
}

/* ---- reading ---- */

static bool load(const char *path, json_t **told, GError **error)
{
	g_autofree char *text = NULL;
	json_error_t reason;
	gsize length;

	if (!g_file_get_contents(path, &text, &length, error)) {
		if (g_error_matches(*error, G_FILE_ERROR, G_FILE_ERROR_ACCES))
			g_prefix_error(error, "to read what the agent tells, be root or in the group " STORE_GROUP ": ");
		return false;
	}
	*told = json_loadb(text, length, JSON_REJECT_DUPLICATES, &reason);
	if (json_is_object(json_object_get(*told, "routers")) && json_is_object(json_object_get(*told, "problems")))
		return true;
	g_clear_pointer(told, json_decref);
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: no agent of fipmeter wrote this", path);
	return false;
}

/* An agent that began when the directory was not there yet had no better name for the file. */
static char *find(const char *netns_dir, json_t **told, GError **error)
{
	g_autofree char *path = node_run_path(netns_dir, SUFFIX), *nameless = node_run_path("", SUFFIX);
	GError *failure = NULL;

	*told = NULL;
	if (load(path, told, &failure))
		return g_steal_pointer(&path);
	if (!g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
		g_propagate_error(error, failure);
		return NULL;
	}
	g_clear_error(&failure);
	if (load(nameless, told, &failure) &&
	    !g_strcmp0(json_string_value(json_object_get(*told, "netns_dir")), netns_dir))
		return g_steal_pointer(&nameless);
	g_clear_error(&failure);
	g_clear_pointer(told, json_decref);
	return g_steal_pointer(&path);
}

bool bulletin_read(const char *netns_dir, json_t **told, long *holder, GError **error)
{
	g_autofree char *path = find(netns_dir, told, error), *lock = NULL;
	g_autoptr(GError) refusal = NULL;
	long pid;

	if (!path)
		return false;
	path[strlen(path) - strlen(SUFFIX)] = '\0';
	lock = g_strconcat(path, ".lock", NULL);
	if (lock_ask(lock, holder, &refusal))
		return true;
	pid = json_integer_value(json_object_get(*told, "pid"));
	*holder = pid > 0 && (kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
	return true;
}

const char *bulletin_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}
