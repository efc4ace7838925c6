/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One output model, one table of functions a format.  JSON and CSV are written row by row; a table is
 * collected, because its widths depend on all of its rows.
 */
#include "cmd/output.h"

#include "cmd/cmd.h"
#include "core/period.h"

#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

struct output_format {
	const char *name;
	bool for_people;
	void (*begin)(struct output *output);
	void (*row)(struct output *output, const union output_cell *cells);
	void (*finish)(struct output *output);
};

struct output {
	const struct output_format *format;
	FILE *stream;
	const struct output_column *const *columns;
	unsigned n;
	struct output_style style;
	GTimeZone *utc;
	struct {
		int64_t time_us;
		char *text; /* NULL: nothing yet */
	} shown[2];         /* the last two times: lines of one period follow each other */
	uint64_t rows;
	/* of a table alone */
	GPtrArray *lines;  /* of char **, one text for each column */
	bool *left_out;    /* for each column */
	GString *notes;
};

static bool is_number(const struct output_column *column)
{
	return column->type == OUTPUT_COUNT || column->type == OUTPUT_BYTES || column->type == OUTPUT_FIGURE;
}

/* The output's own; as long as only one other time was shown since. */
static const char *show_utc(struct output *output, int64_t time_us)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(output->shown); i++)
		if (output->shown[i].text && output->shown[i].time_us == time_us)
			return output->shown[i].text;
	g_free(output->shown[0].text);
	output->shown[0] = output->shown[1];
	output->shown[1].time_us = time_us;
	output->shown[1].text = time_format(time_us, output->utc);
	return output->shown[1].text;
}

/* ---- JSON ---- */

static void json_character(FILE *stream, gunichar c)
{
	char utf8[7] = { 0 };

	if (c == '"' || c == '\\')
		fprintf(stream, "\\%c", (char)c);
	else if (g_unichar_isprint(c) && c != 0x2028 && c != 0x2029 && g_unichar_to_utf8(c, utf8)) /* ends of lines */
		fputs(utf8, stream);
	else if (c > 0xffff)
		fprintf(stream, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
	else
		fprintf(stream, "\\u%04x", c);
}

/* Most texts are plain ASCII, and an answer may have millions of them. */
static bool is_plain_json(const char *text)
{
	while (*text >= ' ' && *text <= '~' && *text != '"' && *text != '\\')
		text++;
	return !*text;
}

void output_json_string(FILE *stream, const char *text)
{
	g_autofree char *valid = NULL;

	fputc('"', stream);
	if (is_plain_json(text)) {
		fputs(text, stream);
		fputc('"', stream);
		return;
	}
	valid = g_utf8_make_valid(text, -1);
	for (const char *c = valid; *c; c = g_utf8_next_char(c))
		json_character(stream, g_utf8_get_char(c));
	fputc('"', stream);
}

static void json_words(FILE *stream, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);

	fputc('[', stream);
	for (unsigned i = 0; words[i]; i++) {
		fputs(i ? ", " : "", stream);
		output_json_string(stream, words[i]);
	}
	fputc(']', stream);
}

static void json_cell(struct output *output, const struct output_column *column,
                      const union output_cell *cell)
{
	switch (column->type) {
	case OUTPUT_TEXT:
	case OUTPUT_FIGURE:
		output_json_string(output->stream, cell->text);
		break;
	case OUTPUT_WORDS:
		json_words(output->stream, cell->text);
		break;
	case OUTPUT_COUNT:
	case OUTPUT_BYTES:
		fprintf(output->stream, "%" G_GUINT64_FORMAT, cell->number);
		break;
	case OUTPUT_TIME:
		output_json_string(output->stream, show_utc(output, cell->time_us));
		break;
	}
}

static void json_begin(struct output *output)
{
	fputc('[', output->stream);
}

static void json_row(struct output *output, const union output_cell *cells)
{
	fputs(output->rows ? ",\n  {" : "\n  {", output->stream);
	for (unsigned i = 0; i < output->n; i++) {
		fprintf(output->stream, "%s\"%s\": ", i ? ", " : "", output->columns[i]->name);
		json_cell(output, output->columns[i], &cells[i]);
	}
	fputc('}', output->stream);
}

static void json_finish(struct output *output)
{
	fputs(output->rows ? "\n]\n" : "]\n", output->stream);
}

/* ---- CSV: RFC 4180 ---- */

/* A spreadsheet runs a cell that begins so (OWASP, "CSV Injection"; the wide forms count as well in East Asian locales).
 * Control characters, which it would skip first, are escaped before. */
static bool is_formula(const char *text)
{
	static const gunichar beginnings[] = { '=', '+', '-', '@', 0xff1d, 0xff0b, 0xff0d, 0xff20 };
	gunichar first = g_utf8_get_char(text);

	for (unsigned i = 0; i < G_N_ELEMENTS(beginnings); i++)
		if (first == beginnings[i])
			return true;
	return false;
}

/* An apostrophe in front makes a formula text.  A semicolon parts cells, too, where the comma is the decimal point. */
static void csv_text(FILE *stream, const char *text)
{
	g_autofree char *printable = cmd_escape(text);
	bool quoted = strpbrk(printable, ",;\"") != NULL;

	if (quoted)
		fputc('"', stream);
	if (is_formula(printable))
		fputc('\'', stream);
	if (!quoted) {
		fputs(printable, stream);
		return;
	}
	for (const char *c = printable; *c; c++) {
		if (*c == '"')
			fputc('"', stream);
		fputc(*c, stream);
	}
	fputc('"', stream);
}

static void csv_cell(struct output *output, const struct output_column *column,
                     const union output_cell *cell)
{
	switch (column->type) {
	case OUTPUT_TEXT:
	case OUTPUT_WORDS:
	case OUTPUT_FIGURE:
		csv_text(output->stream, cell->text);
		break;
	case OUTPUT_COUNT:
	case OUTPUT_BYTES:
		fprintf(output->stream, "%" G_GUINT64_FORMAT, cell->number);
		break;
	case OUTPUT_TIME:
		fputs(show_utc(output, cell->time_us), output->stream);
		break;
	}
}

static void csv_begin(struct output *output)
{
	for (unsigned i = 0; i < output->n; i++)
		fprintf(output->stream, "%s%s", i ? "," : "", output->columns[i]->name);
	fputs("\r\n", output->stream);
}

static void csv_row(struct output *output, const union output_cell *cells)
{
	for (unsigned i = 0; i < output->n; i++) {
		fputs(i ? "," : "", output->stream);
		csv_cell(output, output->columns[i], &cells[i]);
	}
	fputs("\r\n", output->stream);
}

static void csv_finish(struct output *output)
{
}

/* ---- table ---- */

/* The columns of a terminal that a character takes: 0 for one that combines, 2 for a wide one.  Only in a UTF-8 locale
 * is there any but ASCII (cmd_printable), and there wchar_t is Unicode. */
static unsigned character_width(gunichar c)
{
	int width = wcwidth((wchar_t)c);

	return (unsigned)MAX(width, 0);
}

static unsigned text_width(const char *text)
{
	unsigned width = 0;

	for (; *text; text = g_utf8_next_char(text))
		width += character_width(g_utf8_get_char(text));
	return width;
}

/* Cuts text where it would take more than so many columns. */
static void cut_text(char *text, unsigned width)
{
	unsigned used = 0;

	for (; *text; text = g_utf8_next_char(text)) {
		used += character_width(g_utf8_get_char(text));
		if (used > width)
			*text = '\0';
		if (!*text)
			return;
	}
}

char *output_number_for_people(uint64_t number, const char *unit)
{
	static const char prefixes[] = "kMGTPE";
	uint64_t size = 1;
	unsigned power = 0, places;
	double shown;

	/* 999.5 of one unit rounds to 1000 of it, which is 1.00 of the next. */
	while (power < 6 && number >= size * 999 + (size > 1 ? size / 2 : 1)) {
		size *= 1000;
		power++;
	}
	if (!power)
		return g_strdup_printf("%" G_GUINT64_FORMAT "%s%s", number, *unit ? " " : "", unit);
	shown = (double)number / (double)size;
	places = shown < 9.995 ? 2 : shown < 99.95 ? 1 : 0;
	return g_strdup_printf("%.*f %c%s", (int)places, shown, prefixes[power - 1], unit);
}

static char *table_cell(const struct output *output, const struct output_column *column,
                        const union output_cell *cell)
{
	switch (column->type) {
	case OUTPUT_TEXT:
	case OUTPUT_WORDS:
	case OUTPUT_FIGURE:
		return *cell->text ? cmd_printable(cell->text) : g_strdup("-");
	case OUTPUT_COUNT:
	case OUTPUT_BYTES:
		if (!output->style.exact)
			return output_number_for_people(cell->number, column->type == OUTPUT_BYTES ? "B" : "");
		return g_strdup_printf("%" G_GUINT64_FORMAT, cell->number);
	case OUTPUT_TIME:
		return time_format(cell->time_us - (output->style.exact ? 0 : cell->time_us % G_USEC_PER_SEC),
		                   output->style.timezone);
	}
	g_assert_not_reached();
}

static void free_line(void *line)
{
	g_strfreev(line);
}

static void table_begin(struct output *output)
{
	output->lines = g_ptr_array_new_with_free_func(free_line);
	output->left_out = g_new0(bool, output->n);
	output->notes = g_string_new(NULL);
}

static void table_row(struct output *output, const union output_cell *cells)
{
	char **line = g_new0(char *, output->n + 1);

	for (unsigned i = 0; i < output->n; i++)
		line[i] = table_cell(output, output->columns[i], &cells[i]);
	g_ptr_array_add(output->lines, line);
}

static unsigned column_width(const struct output *output, unsigned column)
{
	unsigned width = text_width(output->columns[column]->title);

	for (unsigned i = 0; i < output->lines->len; i++)
		width = MAX(width, text_width(((char **)output->lines->pdata[i])[column]));
	return width;
}

static unsigned table_width(const struct output *output)
{
	unsigned width = 0;

	for (unsigned i = 0; i < output->n; i++)
		if (!output->left_out[i])
			width += column_width(output, i) + 1;
	return width - 1;
}

static void shorten_column(struct output *output, unsigned column, unsigned width)
{
	for (unsigned i = 0; i < output->lines->len; i++)
		cut_text(((char **)output->lines->pdata[i])[column], width);
}

/* Leaves out the columns that are wanted least; false if all that are left are wanted.  The first one says
 * what a line is about. */
static bool leave_out_columns(struct output *output)
{
	unsigned highest = 0;

	for (unsigned i = 1; i < output->n; i++)
		if (!output->left_out[i])
			highest = MAX(highest, output->columns[i]->leave_out);
	for (unsigned i = 1; highest && i < output->n; i++)
		if (output->columns[i]->leave_out == highest)
			output->left_out[i] = true;
	return highest;
}

static void fit_table(struct output *output)
{
	unsigned limit = output->style.width, last = output->n - 1;

	for (unsigned i = output->n; limit && i > 0 && table_width(output) > limit; i--)
		if (output->columns[i - 1]->shorten)
			shorten_column(output, i - 1, output->columns[i - 1]->shorten);
	while (limit && table_width(output) > limit && leave_out_columns(output))
		;
	/* The last column may be cut to what is left; numbers never are, the terminal has to wrap them. */
	if (limit && table_width(output) > limit && !is_number(output->columns[last])) {
		unsigned others = table_width(output) - column_width(output, last);

		shorten_column(output, last, limit > others ? limit - others : 1);
	}
}

static void fill_table(struct libscols_table *table, const struct output *output)
{
	for (unsigned i = 0; i < output->n; i++)
		if (!output->left_out[i])
			scols_table_new_column(table, output->columns[i]->title, 1,
			                       is_number(output->columns[i]) ? SCOLS_FL_RIGHT : 0);
	for (unsigned i = 0; i < output->lines->len; i++) {
		struct libscols_line *line = scols_table_new_line(table, NULL);
		char **texts = output->lines->pdata[i];
		unsigned shown = 0;

		for (unsigned j = 0; j < output->n; j++)
			if (!output->left_out[j])
				scols_line_set_data(line, shown++, texts[j]);
	}
}

static void table_clear(struct output *output)
{
	g_ptr_array_unref(output->lines);
	g_free(output->left_out);
	g_string_free(output->notes, TRUE);
}

static void table_finish(struct output *output)
{
	if (output->lines->len) {
		struct libscols_table *table = scols_new_table();

		fit_table(output);
		fill_table(table, output);
		scols_table_set_stream(table, output->stream);
		/* Widths are settled and all text is printable: it has nothing to add. */
		scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
		scols_table_enable_noencoding(table, 1);
		scols_print_table(table);
		scols_unref_table(table);
	}
	fputs(output->notes->str, output->stream);
	table_clear(output);
}

/* ---- Markdown: GitHub's tables; all of the width that they need ---- */

static void markdown_line(struct output *output, char **texts)
{
	for (unsigned i = 0; i < output->n; i++) {
		g_auto(GStrv) parts = g_strsplit(texts[i], "|", -1);
		g_autofree char *escaped = g_strjoinv("\\|", parts);

		fprintf(output->stream, "| %s ", escaped);
	}
	fputs("|\n", output->stream);
}

static void markdown_finish(struct output *output)
{
	fputs("\n", output->stream); /* a table begins behind an empty line */
	for (unsigned i = 0; i < output->n; i++) {
		g_autofree char *title = g_ascii_strdown(output->columns[i]->title, -1);

		fprintf(output->stream, "| %s ", title);
	}
	fputs("|\n", output->stream);
	for (unsigned i = 0; i < output->n; i++)
		fputs(is_number(output->columns[i]) ? "|---:" : "|---", output->stream);
	fputs("|\n", output->stream);
	for (unsigned i = 0; i < output->lines->len; i++)
		markdown_line(output, output->lines->pdata[i]);
	fprintf(output->stream, "\n%s", output->notes->str);
	table_clear(output);
}

/* ---- any ---- */

static const struct output_format formats[] = {
	{ "table", true, table_begin, table_row, table_finish },
	{ "markdown", true, table_begin, table_row, markdown_finish },
	{ "json", false, json_begin, json_row, json_finish },
	{ "csv", false, csv_begin, csv_row, csv_finish },
};

const struct output_format *output_format_find(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
		if (g_str_equal(name, formats[i].name))
			return &formats[i];
	return NULL;
}

bool output_format_is_for_people(const struct output_format *format)
{
	return format->for_people;
}

unsigned output_terminal_width(FILE *stream)
{
	const char *columns = g_getenv("COLUMNS");
	struct winsize size = { 0 };
	guint64 width;

	if (!isatty(fileno(stream)))
		return 0;
	if (columns && g_ascii_string_to_unsigned(columns, 10, 1, 10000, &width, NULL))
		return (unsigned)width;
	if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
	return 80;
}

struct output *output_new(const struct output_format *format, FILE *stream,
                          const struct output_column *const *columns, unsigned n,
                          const struct output_style *style)
{
	struct output *output = g_new0(struct output, 1);

	output->format = format;
	output->stream = stream;
	output->columns = columns;
	output->n = n;
	output->style = *style;
	g_time_zone_ref(output->style.timezone);
	output->utc = g_time_zone_new_utc();
	format->begin(output);
	return output;
}

void output_row(struct output *output, const union output_cell *cells)
{
	output->format->row(output, cells);
	output->rows++;
}

/* A line of text for people, broken at blanks. */
static void G_GNUC_PRINTF(3, 0) wrap(GString *to, const struct output *output, const char *format,
                                     va_list arguments)
{
	g_autofree char *text = g_strdup_vprintf(format, arguments), *printable = cmd_printable(text);
	g_auto(GStrv) words = g_strsplit(printable, " ", -1);
	unsigned column = 0;

	for (unsigned i = 0; words[i]; i++) {
		unsigned width = text_width(words[i]);
		bool fits = !output->style.width || column + 1 + width <= output->style.width;

		if (column)
			g_string_append_c(to, fits ? ' ' : '\n');
		g_string_append(to, words[i]);
		column = column && fits ? column + 1 + width : width;
	}
	g_string_append_c(to, '\n');
}

void output_caption(struct output *output, const char *format, ...)
{
	g_autoptr(GString) text = g_string_new(NULL);
	va_list arguments;

	if (!output->format->for_people)
		return;
	va_start(arguments, format);
	wrap(text, output, format, arguments);
	va_end(arguments);
	fputs(text->str, output->stream);
}

void output_total(struct output *output, const union output_cell *cells)
{
	char **line;

	if (!output->format->for_people)
		return;
	line = g_new0(char *, output->n + 1);
	for (unsigned i = 0; i < output->n; i++)
		line[i] = i == 0 ? g_strdup("total") :
		          is_number(output->columns[i]) ? table_cell(output, output->columns[i], &cells[i]) :
		          g_strdup("");
	g_ptr_array_add(output->lines, line);
}

void output_note(struct output *output, const char *format, ...)
{
	va_list arguments;

	if (!output->format->for_people)
		return;
	va_start(arguments, format);
	wrap(output->notes, output, format, arguments);
	va_end(arguments);
}

void output_finish(struct output *output)
{
	output->format->finish(output);
	g_time_zone_unref(output->style.timezone);
	g_time_zone_unref(output->utc);
	for (unsigned i = 0; i < G_N_ELEMENTS(output->shown); i++)
		g_free(output->shown[i].text);
	g_free(output);
}
