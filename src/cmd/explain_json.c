/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `fipmeter explain` tells, for machines.  docs/output.md has every name.
 */
#include "cmd/explain.h"

#include "core/period.h"
#include "core/plan.h"

#include <stdio.h>

static const char *const levels[] = { [LEVEL_ROW] = "row", [LEVEL_HOUR] = "hour", [LEVEL_DAY] = "day" };

static json_t *text_json(const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	return json_string(valid);
}

static json_t *address_json(uint32_t address)
{
	g_autofree char *text = address_to_string(address);

	return json_string(text);
}

/* "" for 0. */
static json_t *time_json(int64_t time_us)
{
	g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
	g_autofree char *text = time_us ? time_format(time_us, utc) : g_strdup("");

	return json_string(text);
}

static json_t *flags_json(unsigned flags)
{
	json_t *list = json_array();

	for (unsigned flag = 1; flag < FLAG_ALL; flag <<= 1)
		if (flags & flag)
			json_array_append_new(list, json_string(flag_name((enum flag)flag)));
	return list;
}

/* Of the kernel's counters it may be more than JSON, and the store, can hold. */
static json_t *count_json(uint64_t count)
{
	return json_integer((json_int_t)MIN(count, (uint64_t)INT64_MAX));
}

static void add_counts(json_t *object, const struct counts *counts)
{
	json_object_set_new(object, "in_bytes", count_json(counts->in_bytes));
	json_object_set_new(object, "in_packets", count_json(counts->in_packets));
	json_object_set_new(object, "out_bytes", count_json(counts->out_bytes));
	json_object_set_new(object, "out_packets", count_json(counts->out_packets));
}

static json_t *counts_json(const struct counts *counts)
{
	json_t *object = json_object();

	add_counts(object, counts);
	return object;
}

static json_t *row_json(const struct explanation *explanation)
{
	unsigned flags;
	struct counts sum = explanation_sum(explanation, &flags);
	json_t *row = json_pack("{s:s, s:o, s:o, s:o}", "level", explanation->has_window ? levels[explanation->level] : "",
	                        "start", time_json(explanation->has_window ? explanation->start_us : 0),
	                        "end", time_json(explanation->has_window ? explanation->end_us : 0),
	                        "flags", flags_json(flags));

	add_counts(row, &sum);
	return row;
}

static json_t *line_json(const struct explanation *explanation, const struct explain_line *line,
                         const struct explain_kernel *kernel)
{
	const struct meter *meter = line->meter;
	g_autofree char *in = plan_counter_name(&meter->key, false), *out = plan_counter_name(&meter->key, true);
	json_t *told = json_pack("{s:I, s:s, s:b, s:s, s:s, s:s, s:I, s:o}", "meter", (json_int_t)meter->id,
		"class", meter->key.class_name, "open", !meter->closed_us, "counter_in", in, "counter_out", out,
		"store", line->row.store, "seq", (json_int_t)line->row.seq, "flags", flags_json(line->row.flags));

	add_counts(told, &line->row.counts);
	if (explanation->has_window && explanation->level == LEVEL_ROW) {
		json_object_set_new(told, "baseline", counts_json(&line->baseline));
		json_object_set_new(told, "reading", counts_json(&line->reading));
	}
	json_object_set_new(told, "first", counts_json(&meter->first));
	json_object_set_new(told, "last", counts_json(&meter->last));
	json_object_set_new(told, "booked", counts_json(&line->booked));
	json_object_set_new(told, "adds_up", json_boolean(explain_line_adds_up(line)));
	json_object_set_new(told, "chains", json_boolean(line->chains));
	if (kernel->seen)
		json_object_set_new(told, "kernel", counts_json(&kernel->counts));
	return told;
}

static json_t *lines_json(const struct explanation *explanation, const struct explain_live *live)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < explanation->lines->len; i++)
		json_array_append_new(list, line_json(explanation, &g_array_index(explanation->lines, struct explain_line, i),
		                                      &g_array_index(live->kernel, struct explain_kernel, i)));
	return list;
}

static json_t *gaps_json(const struct explanation *explanation)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < explanation->coverage->len; i++) {
		const struct coverage *each = explanation->coverage->pdata[i];

		if (each->state == STATE_GAP)
			json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "start", time_json(each->start_us),
				"end", time_json(each->end_us), "address", address_json(each->address),
				"reason", text_json(each->reason)));
	}
	return list;
}

static json_t *history_json(const struct explanation *explanation)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < explanation->lives->len; i++) {
		const struct explain_life *life = explanation->lives->pdata[i];

		json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:s, s:b}",
			"start", time_json(life->from_us), "end", time_json(life->to_us), "node", text_json(life->of->node),
			"router", text_json(life->of->router), "kind", kind_name(life->kind), "fixed", address_json(life->fixed),
			"generation", text_json(life->of->tag), "basis", basis_name(life->of->basis),
			"told", life == explanation->life));
	}
	return list;
}

static json_t *sums_json(const GArray *sums)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < sums->len; i++) {
		const struct explain_sum *sum = &g_array_index(sums, struct explain_sum, i);

		json_array_append_new(list, json_pack("{s:s, s:o, s:b}", "what", sum->what, "command", text_json(sum->command),
		                                      "holds", sum->holds));
	}
	return list;
}

void explain_print_json(const struct explanation *explanation, const struct explain_live *live, const GArray *sums)
{
	const struct explain_life *life = explanation->life;
	const struct generation *of = life->of;
	g_autofree char *sentence = explain_sentence(explanation, live);
	const char *reason, *state = explain_state(explanation, &reason);
	json_t *told = json_pack("{s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"address", address_json(explanation->address), "at", time_json(explanation->at_us),
		"state", state, "reason", text_json(reason), "kind", kind_name(life->kind), "fixed", address_json(life->fixed),
		"node", text_json(of->node), "router", text_json(of->router), "namespace", text_json(of->ns),
		"generation", text_json(of->tag), "boot", text_json(of->boot), "basis", basis_name(of->basis),
		"start", time_json(life->from_us), "end", time_json(life->to_us), "last_reading", time_json(of->read_at.utc_us),
		"backend", text_json(live->backend), "flavour", text_json(live->flavour), "role", text_json(live->role),
		"problem", text_json(live->problem));

	json_object_set_new(told, "list_command", text_json(live->list_command));
	json_object_set_new(told, "show_command", text_json(live->show_command));
	json_object_set_new(told, "kernel_read", time_json(live->read_us));
	json_object_set_new(told, "kernel_failure", text_json(live->failure));
	json_object_set_new(told, "row", row_json(explanation));
	json_object_set_new(told, "meters", lines_json(explanation, live));
	json_object_set_new(told, "gaps", gaps_json(explanation));
	json_object_set_new(told, "history", history_json(explanation));
	json_object_set_new(told, "sums", sums_json(sums));
	json_object_set_new(told, "sentence", text_json(sentence));
	json_dumpf(told, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII); /* a terminal obeys some characters beyond ASCII */
	putchar('\n');
	json_decref(told);
}
