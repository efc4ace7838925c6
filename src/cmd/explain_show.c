/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `fipmeter explain` tells, for people: from the owner down to the counter, then the sums, then the sentence.  Text is
 * broken at blanks where the terminal ends; commands so that they can be pasted as they stand; the sentence not at all.
 */
#include "cmd/explain.h"

#include "cmd/cmd.h"
#include "cmd/output.h"
#include "core/period.h"
#include "core/plan.h"

#include <stdio.h>
#include <string.h>

#define LABEL 12      /* columns */
#define LIVES_MAX 10  /* shown; -o json has all */
#define GAPS_MAX 8

/* ---- lines of text ---- */

static unsigned width_of(const char *text)
{
	unsigned width = 0;

	for (; *text; text = g_utf8_next_char(text)) {
		gunichar c = g_utf8_get_char(text);

		width += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
	}
	return width;
}

/* Words of a text that is printable, from column on; where a line is full it ends in end, and the next begins at indent. */
static void flow(const char *text, unsigned column, unsigned indent, const char *end)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);
	unsigned limit = output_terminal_width(stdout);

	for (unsigned i = 0; words[i]; i++) {
		unsigned width = width_of(words[i]);

		if (i && limit && column + 1 + width + strlen(end) > limit) {
			printf("%s\n%*s%s", end, (int)indent, "", words[i]);
			column = indent + width;
		} else {
			printf("%s%s", i ? " " : "", words[i]);
			column += (i ? 1 : 0) + width;
		}
	}
	putchar('\n');
}

static void G_GNUC_PRINTF(2, 3) say(const char *label, const char *format, ...)
{
	g_autofree char *text = NULL, *printable = NULL;
	va_list arguments;

	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	printable = cmd_printable(text);
	printf("%-*s", LABEL - 1, label);
	putchar(' ');
	flow(printable, LABEL, LABEL, "");
}

/* A backslash goes on with the line, inside quotes too. */
static void say_command(const char *command)
{
	g_autofree char *printable = cmd_printable(command);

	fputs("  ", stdout);
	flow(printable, 2, 4, " \\");
}

static char *local_time(int64_t time_us)
{
	g_autoptr(GTimeZone) local = g_time_zone_new_local();

	return time_format(time_us, local);
}

static const char *or_else(const char *text, const char *otherwise)
{
	return *text ? text : otherwise;
}

/* ---- what it is ---- */

static const char *basis_in_words(enum basis basis)
{
	switch (basis) {
	case BASIS_SKB:
		return "as the kernel sees them";
	case BASIS_WIRE:
		return "as they are on the wire";
	case BASIS_WIRE_SENT:
		return "as they are on the wire, of out those that the external device was given to send";
	}
	g_assert_not_reached();
}

static void say_life(const struct explanation *explanation, const struct explain_live *live)
{
	const struct explain_life *life = explanation->life;
	const struct generation *of = life->of;
	g_autofree char *address = address_to_string(explanation->address), *owner = explain_owner(life);
	g_autofree char *from = local_time(life->from_us), *to = local_time(life->to_us), *read = local_time(of->read_at.utc_us);
	g_autofree char *made = local_time(of->made_at.utc_us);

	say("address", "%s, %s", address, owner);
	say("router", "%s", of->router);
	say("namespace", "%s", of->ns);
	say("node", "%s", of->node);
	say("metered so", "from %s to %s", from, life->to_us ? to : "now");
	say("counted by", "%s; bytes of packets %s (%s)",
	    or_else(live->backend, "nft or iptables (the books alone do not tell which)"),
	    basis_in_words(of->basis), basis_name(of->basis));
	if (*live->flavour)
		say("rules", "Neutron's are in %s, role %s", live->flavour, or_else(live->role, "not known"));
	if (*live->problem)
		say("problem", "%s", live->problem);
	say("generation", "%s, made %s, last reading %s", of->tag, made, read);
	say("boot", "%s", of->boot);
}

static void say_state(const struct explanation *explanation)
{
	g_autofree char *at = local_time(explanation->at_us);
	const char *reason, *state = explain_state(explanation, &reason);
	static const struct {
		const char *state, *meaning;
	} meanings[] = {
		{ "metered", "everything was counted" },
		{ "standby", "the address was on another node, there was nothing to count here" },
		{ "gap", "not everything was counted" },
		{ "unknown", "no reading is on record for that time" },
		{ "none", "it was not in force then; what is told is the nearest that there is" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(meanings); i++)
		if (g_str_equal(meanings[i].state, state))
			say("state", "%s at %s: %s%s%s", state, at, meanings[i].meaning, *reason ? ": " : "", reason);
}

/* ---- the row ---- */

enum { ROW_CLASS, ROW_WAY, ROW_BASELINE, ROW_READING, ROW_BYTES, ROW_PACKETS, ROW_FLAGS, ROW_COLUMNS };

static const struct output_column row_columns[ROW_COLUMNS] = {
	[ROW_CLASS] = { "class", "CLASS", OUTPUT_TEXT }, [ROW_WAY] = { "way", "WAY", OUTPUT_TEXT },
	[ROW_BASELINE] = { "baseline", "BASELINE", OUTPUT_COUNT }, [ROW_READING] = { "reading", "READING", OUTPUT_COUNT },
	[ROW_BYTES] = { "bytes", "BYTES", OUTPUT_COUNT }, [ROW_PACKETS] = { "packets", "PACKETS", OUTPUT_COUNT, .leave_out = 1 },
	[ROW_FLAGS] = { "flags", "FLAGS", OUTPUT_WORDS },
};

/* Of many columns those that are wanted. */
static struct output *begin_table(const struct output_column *columns, unsigned n, bool (*wanted)(const void *of, unsigned i),
                                  const void *of, const struct output_column **shown, unsigned *n_shown)
{
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	struct output_style style = { .width = output_terminal_width(stdout), .exact = true, .timezone = local };

	*n_shown = 0;
	for (unsigned i = 0; i < n; i++)
		if (!wanted || wanted(of, i))
			shown[(*n_shown)++] = &columns[i];
	return output_new(output_format_find("table"), stdout, shown, *n_shown, &style);
}

static void put_cells(struct output *output, const struct output_column *columns, const struct output_column *const *shown,
                      unsigned n, const union output_cell *all)
{
	union output_cell cells[16];

	for (unsigned i = 0; i < n; i++)
		cells[i] = all[shown[i] - columns];
	output_row(output, cells);
}

/* A sum has no readings. */
static bool wants_row_column(const void *of, unsigned i)
{
	return ((const struct explanation *)of)->level == LEVEL_ROW || (i != ROW_BASELINE && i != ROW_READING);
}

static void put_row(struct output *output, const struct output_column *const *shown, unsigned n,
                    const struct explain_line *line)
{
	g_autofree char *flags = explain_flags(line->row.flags);
	const struct counts *counts = &line->row.counts;
	const union output_cell in[ROW_COLUMNS] = {
		[ROW_CLASS].text = line->meter->key.class_name, [ROW_WAY].text = "in",
		[ROW_BASELINE].number = line->baseline.in_bytes, [ROW_READING].number = line->reading.in_bytes,
		[ROW_BYTES].number = counts->in_bytes, [ROW_PACKETS].number = counts->in_packets, [ROW_FLAGS].text = flags,
	};
	const union output_cell out[ROW_COLUMNS] = {
		[ROW_CLASS].text = line->meter->key.class_name, [ROW_WAY].text = "out",
		[ROW_BASELINE].number = line->baseline.out_bytes, [ROW_READING].number = line->reading.out_bytes,
		[ROW_BYTES].number = counts->out_bytes, [ROW_PACKETS].number = counts->out_packets, [ROW_FLAGS].text = flags,
	};

	put_cells(output, row_columns, shown, n, in);
	put_cells(output, row_columns, shown, n, out);
}

static void say_window(const struct explanation *explanation)
{
	static const char *const what[] = { [LEVEL_ROW] = "row", [LEVEL_HOUR] = "hour", [LEVEL_DAY] = "day" };
	g_autofree char *start = local_time(explanation->start_us), *end = local_time(explanation->end_us);
	const char *which = explanation->level != LEVEL_ROW ? "the sum, as its rows are kept no more" :
	                    !explanation->asked ? "the latest" :
	                    explanation->at_us < explanation->end_us ? "it holds the time asked for" :
	                    "the last before the time asked for, when nothing was counted";

	putchar('\n');
	if (explanation->has_window)
		say(what[explanation->level], "%s to %s: %s", start, end, which);
	else
		say("row", "none up to that time: it has counted nothing, or what it has is not kept any more");
}

static void print_rows(const struct explanation *explanation)
{
	const struct output_column *shown[ROW_COLUMNS];
	struct output *output;
	unsigned n, flags;

	say_window(explanation);
	if (!explanation->has_window)
		return;
	output = begin_table(row_columns, ROW_COLUMNS, wants_row_column, explanation, shown, &n);
	for (unsigned i = 0; i < explanation->lines->len; i++)
		put_row(output, shown, n, &g_array_index(explanation->lines, struct explain_line, i));
	output_finish(output);
	explanation_sum(explanation, &flags);
	for (unsigned flag = 1; flag < FLAG_ALL; flag <<= 1)
		if (flags & flag)
			say("flag", "%s: %s", flag_name((enum flag)flag), explain_flag((enum flag)flag));
	if (!flags)
		say("flags", "none: complete");
}

/* ---- gaps ---- */

static void print_gaps(const struct explanation *explanation)
{
	unsigned n = 0;

	for (unsigned i = 0; i < explanation->coverage->len; i++) {
		const struct coverage *gap = explanation->coverage->pdata[i];
		g_autofree char *start = local_time(gap->start_us), *end = local_time(gap->end_us);
		g_autofree char *address = address_to_string(gap->address);

		if (gap->state != STATE_GAP || ++n > GAPS_MAX)
			continue;
		say("gap", "%s to %s, %s: %s", start, end, *address ? "this address" : "the whole router", gap->reason);
	}
	if (n > GAPS_MAX)
		say("gap", "and %u more (-o json has all)", n - GAPS_MAX);
	if (!n)
		say("gaps", "none from a day before to a day after");
}

/* ---- the counters ---- */

enum { COUNTER_CLASS, COUNTER_WAY, COUNTER_FIRST, COUNTER_LAST, COUNTER_BOOKED, COUNTER_KERNEL, COUNTER_NEW, COUNTER_COLUMNS };

static const struct output_column counter_columns[COUNTER_COLUMNS] = {
	[COUNTER_CLASS] = { "class", "CLASS", OUTPUT_TEXT }, [COUNTER_WAY] = { "way", "WAY", OUTPUT_TEXT },
	[COUNTER_FIRST] = { "first", "FIRST", OUTPUT_COUNT, .leave_out = 1 }, [COUNTER_LAST] = { "last", "LAST", OUTPUT_COUNT },
	[COUNTER_BOOKED] = { "booked", "BOOKED", OUTPUT_COUNT }, [COUNTER_KERNEL] = { "kernel", "KERNEL-NOW", OUTPUT_COUNT },
	[COUNTER_NEW] = { "new", "NOT-BOOKED-YET", OUTPUT_TEXT },
};

static bool wants_counter_column(const void *of, unsigned i)
{
	return ((const struct explain_live *)of)->read_us || i < COUNTER_KERNEL;
}

static char *not_booked(const struct explain_kernel *kernel, uint64_t shown, uint64_t last)
{
	return !kernel->seen ? g_strdup("no counter") : shown < last ? g_strdup("SET BACK") :
	       g_strdup_printf("%" G_GUINT64_FORMAT, shown - last);
}

static void put_counter(struct output *output, const struct output_column *const *shown, unsigned n,
                        const struct explain_line *line, const struct explain_kernel *kernel)
{
	const struct meter *meter = line->meter;
	g_autofree char *new_in = not_booked(kernel, kernel->counts.in_bytes, meter->last.in_bytes);
	g_autofree char *new_out = not_booked(kernel, kernel->counts.out_bytes, meter->last.out_bytes);
	const union output_cell in[COUNTER_COLUMNS] = {
		[COUNTER_CLASS].text = meter->key.class_name, [COUNTER_WAY].text = "in",
		[COUNTER_FIRST].number = meter->first.in_bytes, [COUNTER_LAST].number = meter->last.in_bytes,
		[COUNTER_BOOKED].number = line->booked.in_bytes, [COUNTER_KERNEL].number = kernel->counts.in_bytes,
		[COUNTER_NEW].text = new_in,
	};
	const union output_cell out[COUNTER_COLUMNS] = {
		[COUNTER_CLASS].text = meter->key.class_name, [COUNTER_WAY].text = "out",
		[COUNTER_FIRST].number = meter->first.out_bytes, [COUNTER_LAST].number = meter->last.out_bytes,
		[COUNTER_BOOKED].number = line->booked.out_bytes, [COUNTER_KERNEL].number = kernel->counts.out_bytes,
		[COUNTER_NEW].text = new_out,
	};

	put_cells(output, counter_columns, shown, n, in);
	put_cells(output, counter_columns, shown, n, out);
}

static void say_tools(const struct explain_live *live)
{
	if (*live->show_command) {
		say("see them", "with the system's own tools:");
		say_command(live->show_command);
	} else if (live->guesses[0]) {
		say("see them", "with the system's own tools, if the back end is nft:");
		say_command(live->guesses[0]);
		say("", "and if it is iptables:");
		say_command(live->guesses[1]);
	}
}

static void print_counters(const struct explanation *explanation, const struct explain_live *live)
{
	const struct output_column *shown[COUNTER_COLUMNS];
	struct output *output;
	unsigned n;

	putchar('\n');
	for (unsigned i = 0; i < explanation->lines->len; i++) {
		const struct meter *meter = g_array_index(explanation->lines, struct explain_line, i).meter;
		g_autofree char *in = plan_counter_name(&meter->key, false), *out = plan_counter_name(&meter->key, true);

		say("counters", "%s, %s: meter %" G_GINT64_FORMAT "%s", in, out, meter->id, meter->closed_us ? ", closed" : "");
	}
	if (live->read_us) {
		g_autofree char *read = local_time(live->read_us);

		say("kernel", "read %s", read);
	} else {
		say("kernel", "not read: %s", live->failure);
	}
	output = begin_table(counter_columns, COUNTER_COLUMNS, wants_counter_column, live, shown, &n);
	for (unsigned i = 0; i < explanation->lines->len; i++)
		put_counter(output, shown, n, &g_array_index(explanation->lines, struct explain_line, i),
		            &g_array_index(live->kernel, struct explain_kernel, i));
	output_finish(output);
	say_tools(live);
}

/* ---- sums, and all the lives ---- */

static void print_sums(const GArray *sums)
{
	for (unsigned i = 0; i < sums->len; i++) {
		const struct explain_sum *sum = &g_array_index(sums, struct explain_sum, i);

		putchar('\n');
		say("check", "%s: %s", sum->what, sum->holds ? "it is so" : "IT IS NOT SO, fipmeter audit says more");
		say_command(sum->command);
	}
}

static void put_life(struct output *output, const struct explanation *explanation, const struct explain_life *life)
{
	g_autofree char *from = local_time(life->from_us / G_USEC_PER_SEC * G_USEC_PER_SEC);
	g_autofree char *to = local_time(life->to_us / G_USEC_PER_SEC * G_USEC_PER_SEC);
	g_autofree char *fixed = address_to_string(life->fixed);
	const union output_cell cells[] = {
		{ .text = life == explanation->life ? "*" : " " }, { .text = from }, { .text = life->to_us ? to : "" },
		{ .text = life->of->router }, { .text = fixed }, { .text = life->of->node },
	};

	output_row(output, cells);
}

/* The last ones. */
static void print_history(const struct explanation *explanation)
{
	static const struct output_column columns[] = {
		{ "told", "", OUTPUT_TEXT }, { "start", "FROM", OUTPUT_TEXT }, { "end", "TO", OUTPUT_TEXT },
		{ "router", "ROUTER", OUTPUT_TEXT, .shorten = 8 }, { "fixed", "FIXED", OUTPUT_TEXT },
		{ "node", "NODE", OUTPUT_TEXT, .shorten = 12, .leave_out = 1 },
	};
	const struct output_column *shown[G_N_ELEMENTS(columns)];
	unsigned all = explanation->lives->len, n;
	struct output *output;

	if (all == 1)
		return;
	putchar('\n');
	output = begin_table(columns, G_N_ELEMENTS(columns), NULL, NULL, shown, &n);
	for (unsigned i = all > LIVES_MAX ? all - LIVES_MAX : 0; i < all; i++)
		put_life(output, explanation, explanation->lives->pdata[i]);
	output_note(output, "* is what is told above.%s", all > LIVES_MAX ? " Earlier ones are left out, -o json has them." : "");
	output_finish(output);
}

void explain_print_people(const struct explanation *explanation, const struct explain_live *live, const GArray *sums)
{
	g_autofree char *sentence = explain_sentence(explanation, live), *printable = cmd_printable(sentence);

	say_life(explanation, live);
	say_state(explanation);
	print_rows(explanation);
	print_gaps(explanation);
	print_counters(explanation, live);
	print_sums(sums);
	print_history(explanation);
	printf("\n%s\n", printable);
}
