/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of `fipmeter verify`, with the columns of the one in which the seed of this project proved its counters.
 */
#include "cmd/cmd.h"
#include "cmd/output.h"
#include "cmd/verify.h"

#include <jansson.h>
#include <stdio.h>

enum { DIRECTION, VOLUME, RATE, LABEL, CARD, COLLECTED, ERROR, ERROR_RATE, LOWEST, HIGHEST, OFF_WIRE, BESIDE, VERDICT, COLUMNS };

static const struct output_column columns[COLUMNS] = {
	[DIRECTION] = { "", "DIRECTION", OUTPUT_TEXT },
	[VOLUME] = { "", "VOLUME", OUTPUT_FIGURE },
	[RATE] = { "", "RATE", OUTPUT_FIGURE },
	[LABEL] = { "", "WITH", OUTPUT_TEXT },
	[CARD] = { "", "CARD OF THE VM", OUTPUT_FIGURE, .leave_out = 1 },
	[COLLECTED] = { "", "COLLECTED", OUTPUT_FIGURE },
	[ERROR] = { "", "ERROR", OUTPUT_FIGURE, .leave_out = 1 },
	[ERROR_RATE] = { "", "ERROR RATE", OUTPUT_FIGURE, .leave_out = 1 },
	[LOWEST] = { "", "PAYLOAD", OUTPUT_FIGURE },
	[HIGHEST] = { "", "PAYLOAD + HEADERS", OUTPUT_FIGURE },
	[OFF_WIRE] = { "", "OFF THE WIRE", OUTPUT_FIGURE, .leave_out = 2 },
	[BESIDE] = { "", "OFF THE OTHER", OUTPUT_FIGURE, .leave_out = 2 },
	[VERDICT] = { "", "VERDICT", OUTPUT_TEXT },
};

/* ---- for people ---- */

char *verify_volume_text(uint64_t volume)
{
	g_autofree char *text = g_format_size_full(volume, G_FORMAT_SIZE_IEC_UNITS);
	g_auto(GStrv) words = g_strsplit(text, "\302\240", -1); /* GLib parts them by a blank that no line breaks at */

	return g_strjoinv(" ", words);
}

static char *rate_text(uint64_t rate)
{
	return output_number_for_people(rate, "b/s");
}

static char *difference_text(uint64_t a, uint64_t b)
{
	return a < b ? g_strdup_printf("-%" G_GUINT64_FORMAT, b - a) : g_strdup_printf("%" G_GUINT64_FORMAT, a - b);
}

static char *count_text(uint64_t count)
{
	return g_strdup_printf("%" G_GUINT64_FORMAT, count);
}

static char *verdict_text(const struct accuracy_transfer *transfer)
{
	enum accuracy_verdict verdict = accuracy_judge(transfer);
	const char *name = accuracy_verdict_name(verdict);

	if (verdict == ACCURACY_LOSS)
		return g_strdup_printf("%s, %" G_GUINT64_FORMAT " B sent twice", name, accuracy_retransmitted(transfer));
	if (verdict == ACCURACY_UNSURE)
		return g_strdup_printf("%s: flagged gap, reset, moved or unknown_start", name);
	return g_strdup(name);
}

/* The columns that are shown: without those that nothing is known for. */
struct choice {
	const struct output_column *columns[COLUMNS];
	unsigned index[COLUMNS], n;
};

static void show_row(struct output *output, const struct choice *choice, const struct accuracy_test *test,
                     const struct accuracy_transfer *transfer)
{
	uint64_t ppm = accuracy_ppm(transfer->collected, transfer->card);
	char *texts[COLUMNS] = {
		[DIRECTION] = g_strdup(test->in ? "in" : "out"), [VOLUME] = verify_volume_text(test->volume),
		[RATE] = rate_text(test->rate), [LABEL] = g_strdup(test->label),
		[CARD] = transfer->has_card ? count_text(transfer->card) : NULL,
		[COLLECTED] = count_text(transfer->collected),
		[ERROR] = transfer->has_card ? difference_text(transfer->card, transfer->collected) : NULL,
		[ERROR_RATE] = transfer->has_card ? g_strdup_printf("%.3f %%", (double)ppm / 10000) : NULL,
		[LOWEST] = count_text(accuracy_lowest(transfer)), [HIGHEST] = count_text(accuracy_highest(transfer)),
		[OFF_WIRE] = transfer->has_truth ? difference_text(transfer->collected, transfer->truth) : NULL,
		[BESIDE] = transfer->has_beside ? difference_text(transfer->collected, transfer->beside) : NULL,
		[VERDICT] = verdict_text(transfer),
	};
	union output_cell cells[COLUMNS];

	for (unsigned i = 0; i < choice->n; i++)
		cells[i].text = texts[choice->index[i]] ? texts[choice->index[i]] : "";
	output_row(output, cells);
	for (unsigned i = 0; i < COLUMNS; i++)
		g_free(texts[i]);
}

static void choose_columns(const struct verify *verify, struct choice *choice)
{
	bool labels = false;

	for (unsigned i = 0; i < verify->transfers->len; i++)
		labels |= *g_array_index(verify->tests, struct accuracy_test, i).label;
	choice->n = 0;
	for (unsigned i = 0; i < COLUMNS; i++) {
		bool needs_card = i == CARD || i == ERROR || i == ERROR_RATE;

		if ((needs_card && !verify->card) || (i == OFF_WIRE && !verify->truth) ||
		    (i == BESIDE && !verify->beside) || (i == LABEL && !labels))
			continue;
		choice->index[choice->n] = i;
		choice->columns[choice->n++] = &columns[i];
	}
}

static const struct accuracy_transfer *transfer_at(const struct verify *verify, unsigned i)
{
	return &g_array_index(verify->transfers, struct accuracy_transfer, i);
}

static const char *basis_of(const struct verify *verify)
{
	return basis_name(transfer_at(verify, 0)->basis);
}

static unsigned count_verdict(const struct verify *verify, enum accuracy_verdict verdict)
{
	unsigned n = 0;

	for (unsigned i = 0; i < verify->transfers->len; i++)
		n += accuracy_judge(transfer_at(verify, i)) == verdict;
	return n;
}

static void show_table(const struct verify *verify, const char *format)
{
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	struct output_style style = { .width = output_terminal_width(stdout), .exact = true, .timezone = local };
	g_autofree char *address = address_to_string(verify->address);
	struct output *output;
	struct choice choice;

	choose_columns(verify, &choice);
	output = output_new(output_format_find(format), stdout, choice.columns, choice.n, &style);
	output_caption(output, "%s of router %s, basis %s%s", address, verify->router, basis_of(verify),
	               verify->scale > 1 ? "; the volumes are scaled down" : "");
	for (unsigned i = 0; i < verify->transfers->len; i++)
		show_row(output, &choice, &g_array_index(verify->tests, struct accuracy_test, i), transfer_at(verify, i));
	output_note(output, "%u of %u inside: payload <= collected <= payload + headers. All figures are bytes.",
	            count_verdict(verify, ACCURACY_INSIDE), verify->tests->len);
	if (count_verdict(verify, ACCURACY_LOSS))
		output_note(output, "%u above that by no more than what was lost behind the counters and sent twice.",
		            count_verdict(verify, ACCURACY_LOSS));
	if (verify->beside)
		output_note(output, "\"Off the other\" is collected minus what %s has counted at the same time.", verify->beside);
	if (verify->scale > 1)
		output_note(output, "Each volume is 1/%u of what was asked for (--scale).", verify->scale);
	output_finish(output);
}

/* ---- for machines ---- */

static json_t *difference_json(uint64_t a, uint64_t b)
{
	return json_integer((json_int_t)(a - b));
}

static json_t *row_json(const struct accuracy_test *test, const struct accuracy_transfer *transfer)
{
	bool card = transfer->has_card, truth = transfer->has_truth;

	return json_pack(
		"{s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
		"direction", test->in ? "in" : "out", "volume_bytes", (json_int_t)test->volume, "rate_bits", (json_int_t)test->rate,
		"label", test->label, "sent_bytes", (json_int_t)transfer->sent, "received_bytes", (json_int_t)transfer->received,
		"retransmitted_segments", (json_int_t)transfer->retransmitted, "mss", (json_int_t)transfer->mss,
		"header_bytes", (json_int_t)transfer->header, "collected_bytes", (json_int_t)transfer->collected,
		"collected_packets", (json_int_t)transfer->packets, "lowest_bytes", (json_int_t)accuracy_lowest(transfer),
		"highest_bytes", (json_int_t)accuracy_highest(transfer), "basis", basis_name(transfer->basis),
		"card_bytes", card ? json_integer((json_int_t)transfer->card) : json_null(),
		"error_bytes", card ? difference_json(transfer->card, transfer->collected) : json_null(),
		"error_ppm", card ? json_integer((json_int_t)accuracy_ppm(transfer->collected, transfer->card)) : json_null(),
		"off_wire_bytes", truth ? difference_json(transfer->collected, transfer->truth) : json_null(),
		"off_wire_packets", truth ? difference_json(transfer->packets, transfer->truth_packets) : json_null(),
		"beside_bytes", transfer->has_beside ? json_integer((json_int_t)transfer->beside) : json_null(),
		"beside_packets", transfer->has_beside ? json_integer((json_int_t)transfer->beside_packets) : json_null(),
		"verdict", accuracy_verdict_name(accuracy_judge(transfer)));
}

static void show_json(const struct verify *verify)
{
	g_autofree char *address = address_to_string(verify->address), *text = NULL;
	json_t *rows = json_array(), *all;

	for (unsigned i = 0; i < verify->transfers->len; i++)
		json_array_append_new(rows, row_json(&g_array_index(verify->tests, struct accuracy_test, i), transfer_at(verify, i)));
	all = json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "address", address, "router", verify->router, "scale",
	                (json_int_t)verify->scale, "tests", (json_int_t)verify->tests->len, "inside",
	                (json_int_t)count_verdict(verify, ACCURACY_INSIDE), "rows", rows);
	text = json_dumps(all, JSON_INDENT(2));
	puts(text);
	json_decref(all);
}

void verify_show(const struct verify *verify, const char *format)
{
	if (g_str_equal(format, "json"))
		show_json(verify);
	else
		show_table(verify, format);
}
