/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `fipmeter explain` tells, in words: the same for people, for machines and for a ticket.
 */
#include "cmd/explain.h"

#include "cmd/cmd.h"
#include "core/period.h"
#include "store/store.h"

#define HOUR_US (3600 * INT64_C(1000000))
#define NUMBER "%" G_GUINT64_FORMAT

/* As docs/operate.md has it. */
const char *explain_flag(enum flag flag)
{
	switch (flag) {
	case FLAG_CATCHUP:
		return "covers a time in which no agent ran; complete";
	case FLAG_UNKNOWN_START:
		return "the counter was found, not made, and nobody knows what it had counted: it begins at what it showed";
	case FLAG_RESET:
		return "somebody set the counter back before this row, or wrote into it; what it had since the last reading is not known";
	case FLAG_GAP:
		return "something inside or right before this row was not counted";
	case FLAG_LATE:
		return "samples before this one were missed, so it is longer; complete";
	case FLAG_MOVED:
		return "the address changed its VM, or went, inside this row, and that was not followed within 0.1 s";
	case FLAG_ALL:
		break;
	}
	g_assert_not_reached();
}

char *explain_flags(unsigned flags)
{
	GString *words = g_string_new(NULL);

	for (unsigned flag = 1; flag < FLAG_ALL; flag <<= 1)
		if (flags & flag)
			g_string_append_printf(words, "%s%s", words->len ? " " : "", flag_name((enum flag)flag));
	return g_string_free(words, FALSE);
}

char *explain_owner(const struct explain_life *life)
{
	g_autofree char *fixed = address_to_string(life->fixed);

	return life->kind == KIND_FLOATING ? g_strdup_printf("floating IP of %s", fixed) :
	                                     g_strdup("gateway address, of VMs without a floating IP");
}

const char *explain_state(const struct explanation *explanation, const char **reason)
{
	enum state state = explanation_state(explanation, reason);

	if (explanation->in_force)
		return state_name(state);
	*reason = "";
	return "none";
}

/* ---- the sentence ---- */

static char *in_utc(int64_t time_us)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();

	return time_format(time_us, utc);
}

static void say_owner(GString *text, const struct explanation *explanation)
{
	const struct explain_life *life = explanation->life;
	g_autofree char *address = address_to_string(explanation->address), *fixed = address_to_string(life->fixed);

	g_string_append_printf(text, "%s %s (%s%s%srouter %s, node %s)",
	                       life->kind == KIND_FLOATING ? "Floating IP" : "Gateway address", address,
	                       *fixed ? "fixed address " : "", fixed, *fixed ? ", " : "", life->of->router, life->of->node);
}

static void say_counts(GString *text, const struct explanation *explanation)
{
	g_autofree char *start = in_utc(explanation->start_us), *end = in_utc(explanation->end_us);
	unsigned flags;
	struct counts sum = explanation_sum(explanation, &flags);
	g_autofree char *words = explain_flags(flags);

	g_string_append_printf(text, "from %s to %s: in " NUMBER " bytes in " NUMBER " packets, out " NUMBER " bytes in " NUMBER
	                       " packets, %s%s", start, end, sum.in_bytes, sum.in_packets, sum.out_bytes, sum.out_packets,
	                       flags ? "flags " : "without flags, so complete", words);
}

/* What holds the time asked for, or what was the last before it. */
static void say_window(GString *text, const struct explanation *explanation)
{
	bool inside = explanation->at_us < explanation->end_us || explanation->level != LEVEL_ROW;
	g_autofree char *at = in_utc(explanation->at_us);

	if (!explanation->has_window) {
		g_string_append_printf(text, " counted nothing up to %s", at);
		return;
	}
	if (explanation->asked && !inside)
		g_string_append_printf(text, " counted nothing at %s, and last before that", at);
	else
		g_string_append(text, " counted");
	g_string_append_c(text, ' ');
	say_counts(text, explanation);
	if (explanation->level != LEVEL_ROW)
		g_string_append_printf(text, " (the sum of a whole %s, as single rows of that time are kept no more)",
		                       explanation->level == LEVEL_HOUR ? "hour" : "day");
}

static void say_measured(GString *text, const struct explanation *explanation)
{
	g_autofree char *at = in_utc(explanation->at_us), *to = in_utc(explanation->life->to_us);
	const char *reason;
	enum state state = explanation_state(explanation, &reason);

	if (!explanation->in_force) {
		if (explanation->life->from_us > explanation->at_us)
			g_string_append_printf(text, "; at %s it was not metered yet", at);
		else
			g_string_append_printf(text, "; it was metered so up to %s", to);
		return;
	}
	switch (state) {
	case STATE_METERED:
		g_string_append_printf(text, "; at %s it was metered", at);
		return;
	case STATE_STANDBY:
		g_string_append_printf(text, "; at %s another node had the address", at);
		return;
	case STATE_GAP:
		g_string_append_printf(text, "; at %s not all was counted: %s", at, reason);
		return;
	case STATE_UNKNOWN:
		break;
	}
	g_string_append_printf(text, "; whether it was metered at %s is not on record", at);
}

static void say_proof(GString *text, const struct explanation *explanation, const struct explain_live *live)
{
	bool adds_up = explanation_adds_up(explanation) && explanation_chains(explanation), below = false;

	for (unsigned i = 0; i < live->kernel->len; i++)
		below |= g_array_index(live->kernel, struct explain_kernel, i).below;
	g_string_append(text, adds_up ? "; all that is booked of these counters is their last reading minus their first" :
	                "; THE BOOKS of these counters DO NOT ADD UP (fipmeter audit says more)");
	if (below)
		g_string_append(text, ", and the kernel SHOWS LESS than was read: somebody set a counter back");
	else if (live->read_us)
		g_string_append(text, ", and the kernel shows that or more");
	g_string_append_c(text, '.');
}

char *explain_sentence(const struct explanation *explanation, const struct explain_live *live)
{
	g_autoptr(GString) text = g_string_new(NULL);

	say_owner(text, explanation);
	say_window(text, explanation);
	say_measured(text, explanation);
	say_proof(text, explanation, live);
	return cmd_escape(text->str); /* names of nodes and routers may hold anything */
}

/* ---- what anybody can check ---- */

/* Statements for sqlite3(1), which binds the values by itself. */
#define OF_THESE "WHERE m.address = :address AND m.meter BETWEEN :first AND :last"

static const char booked_statement[] =
	"SELECT m.meter, m.class, m.last_in_bytes - m.first_in_bytes AS read_in, ifnull(b.in_bytes, 0) AS booked_in, "
	"m.last_out_bytes - m.first_out_bytes AS read_out, ifnull(b.out_bytes, 0) AS booked_out "
	"FROM meters m LEFT JOIN booked b ON b.meter = m.meter " OF_THESE;
static const char chain_statement[] =
	"SELECT m.meter, m.class, m.seq, m.end_in_bytes - m.in_bytes AS baseline_in, m.end_in_bytes, m.in_bytes, "
	"m.end_out_bytes - m.out_bytes AS baseline_out, m.end_out_bytes, m.out_bytes FROM usage m " OF_THESE
	" AND m.start BETWEEN :since AND :start ORDER BY m.meter, m.seq";

/* The values; meters go up by their numbers. */
static char *bind(const struct explanation *explanation)
{
	g_autofree char *address = address_to_string(explanation->address);
	int64_t first = INT64_MAX, last = 0;

	for (unsigned i = 0; i < explanation->lines->len; i++) {
		int64_t meter = g_array_index(explanation->lines, struct explain_line, i).meter->id;

		first = MIN(first, meter);
		last = MAX(last, meter);
	}
	return g_strdup_printf("\".param set :address %s\" \".param set :first %" G_GINT64_FORMAT "\" \".param set :last %"
	                       G_GINT64_FORMAT "\"", address, first, last);
}

static void add_sum(GArray *sums, const char *what, const char *state_dir, const char *values, const char *statement,
                    bool holds)
{
	g_autofree char *path = g_build_filename(state_dir, STORE_FILE, NULL), *quoted = g_shell_quote(path);
	struct explain_sum sum = {
		what, g_strdup_printf("sqlite3 -readonly -header %s %s \"%s\"", quoted, values, statement), holds,
	};

	g_array_append_val(sums, sum);
}

static void clear_sum(void *sum)
{
	g_free(((struct explain_sum *)sum)->command);
}

GArray *explain_sums(const struct explanation *explanation, const char *state_dir)
{
	GArray *sums = g_array_new(FALSE, FALSE, sizeof(struct explain_sum));
	g_autofree char *values = bind(explanation);
	g_autofree char *times = g_strdup_printf("%s \".param set :since %" G_GINT64_FORMAT "\" \".param set :start %"
	                                         G_GINT64_FORMAT "\"", values, explanation->start_us - HOUR_US,
	                                         explanation->start_us);

	g_array_set_clear_func(sums, clear_sum);
	add_sum(sums, "what is booked of each counter is its last reading minus its first", state_dir, values, booked_statement,
	        explanation_adds_up(explanation));
	if (explanation->has_window && explanation->level == LEVEL_ROW)
		add_sum(sums, "the bytes of a row are its reading minus its baseline, at which the row before it ended", state_dir,
		        times, chain_statement, explanation_chains(explanation));
	return sums;
}
