/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The screen of `fipmeter watch` (ncurses): a head, a line an address, the keys.  What is to be seen, and in which order,
 * core/rates.h says; this draws it, as wide as the terminal is, and follows the keys.
 */
#include "cmd/watch.h"

#include "cmd/cmd.h"
#include "cmd/output.h"
#include "core/period.h"
#include "kernel/clock.h"

#include <ncurses.h>
#include <signal.h>
#include <string.h>

#define ESCAPE 27
#define ESCAPE_MS 25    /* for the rest of a key that begins with it */
#define HEAD_LINES 3
#define FILTER_MAX 40
#define RATE_WIDTH 9    /* columns of a rate */
#define SPARK_MIN 8

struct screen {
	struct watch *watch;
	GPtrArray *list;    /* of const struct rate *, what is to be seen; NULL: nothing yet */
	GString *filter;
	unsigned top;       /* the first line that is shown */
	bool bits, paused, help, typing, done;
	bool blocks;        /* the terminal can show block elements */
};

/* ---- one line ---- */

/* "12.3 MB", or bits. */
static char *show_rate(const struct screen *screen, const struct rate *rate, uint64_t bytes)
{
	uint64_t per_second = rate_per_second(rate, bytes);

	return screen->bits ? output_number_for_people(per_second * 8, "b") : output_number_for_people(per_second, "B");
}

static void add_rate(const struct screen *screen, const struct rate *rate, uint64_t bytes)
{
	g_autofree char *text = show_rate(screen, rate, bytes);

	printw(" %*s", RATE_WIDTH, text);
}

static void add_packets(const struct rate *rate, uint64_t packets)
{
	g_autofree char *text = output_number_for_people(rate_per_second(rate, packets), "");

	printw(" %*s", RATE_WIDTH, text);
}

/* Against the highest that is shown of the same address; what is more than nothing is seen. */
static void add_sparks(const struct screen *screen, const struct rate *rate, unsigned width)
{
	static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const plain[] = { " ", ".", ":", "-", "=", "+", "*", "%", "#" };
	const char *const *levels = screen->blocks ? blocks : plain;
	uint64_t highest = 1;

	width = MIN(width, RATES_HISTORY);
	for (unsigned ago = 0; ago < width; ago++)
		highest = MAX(highest, rate_history(rate, ago));
	addstr(" ");
	for (unsigned ago = width; ago > 0; ago--) {
		uint64_t value = rate_history(rate, ago - 1);

		addstr(levels[value ? 1 + value / (highest / 8 + 1) : 0]);
	}
}

/* ---- columns ---- */

#define FIXED_WIDTH (15 + 2 + 9 + 2 * (RATE_WIDTH + 1))
#define PACKETS_WIDTH (2 * (RATE_WIDTH + 1))
#define CLASS_WIDTH (2 * (RATE_WIDTH + 1))

/* Which columns there is room for, beside those that always are. */
struct layout {
	bool packets;
	unsigned classes; /* so many of them */
	unsigned sparks;  /* columns */
};

static struct layout lay_out(const struct screen *screen)
{
	unsigned room = (unsigned)MAX(COLS - FIXED_WIDTH - 1, 0);
	unsigned all = rates_classes(screen->watch->rates)->len;
	struct layout layout = { .packets = room >= PACKETS_WIDTH + SPARK_MIN };

	room -= layout.packets ? PACKETS_WIDTH : 0;
	if (all && room >= all * CLASS_WIDTH + SPARK_MIN)
		layout.classes = all;
	room -= layout.classes * CLASS_WIDTH;
	layout.sparks = room >= SPARK_MIN ? room - 1 : 0;
	return layout;
}

static void draw_titles(const struct screen *screen, const struct layout *layout)
{
	const GPtrArray *classes = rates_classes(screen->watch->rates);

	attron(A_REVERSE);
	mvprintw(HEAD_LINES - 1, 0, "%-15s K %-8s %*s %*s", "ADDRESS", "ROUTER", RATE_WIDTH, "IN/S", RATE_WIDTH, "OUT/S");
	if (layout->packets)
		printw(" %*s %*s", RATE_WIDTH, "IN-PKTS", RATE_WIDTH, "OUT-PKTS");
	for (unsigned i = 0; i < layout->classes; i++)
		printw(" %*.*s %*s", RATE_WIDTH, RATE_WIDTH, (const char *)classes->pdata[i], RATE_WIDTH, "out");
	if (layout->sparks)
		printw(" LAST %u", MIN(layout->sparks, RATES_HISTORY));
	while (getcurx(stdscr) < COLS - 1)
		addch(' ');
	attroff(A_REVERSE);
}

static void draw_line(const struct screen *screen, const struct layout *layout, const struct rate *rate, int line)
{
	const GPtrArray *classes = rates_classes(screen->watch->rates);
	struct counts moved = rate_moved(rate, screen->watch->view.class_name);
	g_autofree char *name = watch_name(rate), *router = cmd_printable(rate->router);

	mvprintw(line, 0, "%-15.15s %c %-8.8s", name, *kind_name(rate->kind), router);
	add_rate(screen, rate, moved.in_bytes);
	add_rate(screen, rate, moved.out_bytes);
	if (layout->packets) {
		add_packets(rate, moved.in_packets);
		add_packets(rate, moved.out_packets);
	}
	for (unsigned i = 0; i < layout->classes; i++) {
		struct counts of_class = rate_moved(rate, classes->pdata[i]);

		add_rate(screen, rate, of_class.in_bytes);
		add_rate(screen, rate, of_class.out_bytes);
	}
	if (layout->sparks)
		add_sparks(screen, rate, layout->sparks);
}

/* ---- the whole ---- */

static unsigned lines_for_list(void)
{
	return (unsigned)MAX(LINES - HEAD_LINES - 1, 1);
}

/* As far as the line has room. */
static void G_GNUC_PRINTF(2, 3) draw_text(int line, const char *format, ...)
{
	g_autofree char *text = NULL, *printable = NULL;
	va_list arguments;

	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	printable = cmd_printable(text);
	move(line, 0);
	for (const char *c = printable; *c && getcurx(stdscr) < COLS - 1; c = g_utf8_next_char(c))
		addnstr(c, (int)(g_utf8_next_char(c) - c));
}

static void draw_head(const struct screen *screen)
{
	const struct watch *watch = screen->watch;
	const struct watch_found *found = &watch->found;
	g_autoptr(GTimeZone) local = g_time_zone_new_local();
	g_autofree char *at = time_format(found->at.utc_us - found->at.utc_us % G_USEC_PER_SEC, local), *in = NULL, *out = NULL;
	uint64_t in_bytes = 0, out_bytes = 0;

	for (unsigned i = 0; i < screen->list->len; i++) {
		const struct rate *rate = screen->list->pdata[i];
		struct counts moved = rate_moved(rate, watch->view.class_name);

		in_bytes += rate_per_second(rate, moved.in_bytes) * (screen->bits ? 8 : 1);
		out_bytes += rate_per_second(rate, moved.out_bytes) * (screen->bits ? 8 : 1);
	}
	in = output_number_for_people(in_bytes, screen->bits ? "b" : "B");
	out = output_number_for_people(out_bytes, screen->bits ? "b" : "B");
	draw_text(0, "%s%s  %u of %u routers have counters, in %s/s, out %s/s", at, screen->paused ? " PAUSED" : "",
	          found->counting, found->routers, in, out);
	draw_text(1, "%u of %u addresses%s, by %s, class %s%s%s", screen->list->len, rates_count(watch->rates),
	          watch->view.busy ? " (idle ones left out)" : "", rates_sort_name(watch->view.sort),
	          watch->view.class_name ? watch->view.class_name : "all", screen->filter->len ? ", filter " : "",
	          screen->filter->str);
}

static void draw_foot(const struct screen *screen)
{
	const struct watch *watch = screen->watch;

	if (screen->typing)
		draw_text(LINES - 1, "filter, part of an address or router (Enter, Esc: none): %s", screen->filter->str);
	else if (watch->found.failed)
		draw_text(LINES - 1, "%u routers cannot be read: %s", watch->found.failed, watch->found.failure);
	else if (!rates_count(watch->rates))
		draw_text(LINES - 1, "no counters of fipmeter stand in %s: does an agent run here?  q quit", watch->netns_dir);
	else
		draw_text(LINES - 1, "q quit  s sort  c class  / filter  z idle  b bits  space pause  ? help");
}

static void draw_help(void)
{
	static const char *const lines[] = {
		"q             quit", "s             sort by the next key", "t i o p a r   sort by total, in, out, packets, address, router",
		"c             rates of the next class alone, and then of all again",
		"/             filter: a part of address or router; Esc takes it away",
		"z             leave out addresses without traffic, or show them", "b             bits instead of bytes",
		"space         stop, and go on: the time between is in the next rate",
		"arrows, PgUp, PgDn, Home, End", "", "K: f floating IP, g gateway address of a router, u what is nobody's.",
		"Rates are of IP packets, as fipmeter usage has them; in and out are those",
		"of the address. LAST: in and out together, a second each, against the",
		"highest of the same address; the right end is now.",
		"", "any key goes back",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++)
		draw_text((int)i + 1, "  %s", lines[i]);
}

static void draw(struct screen *screen)
{
	struct layout layout = lay_out(screen);
	unsigned shown = lines_for_list();

	erase();
	if (screen->help) {
		draw_help();
		refresh();
		return;
	}
	screen->top = MIN(screen->top, screen->list->len > shown ? screen->list->len - shown : 0);
	draw_head(screen);
	draw_titles(screen, &layout);
	for (unsigned i = 0; i < shown && screen->top + i < screen->list->len; i++)
		draw_line(screen, &layout, screen->list->pdata[screen->top + i], HEAD_LINES + (int)i);
	draw_foot(screen);
	refresh();
}

/* ---- keys ---- */

/* All, then each in turn. */
static void next_class(struct screen *screen)
{
	const GPtrArray *classes = rates_classes(screen->watch->rates);
	struct rates_view *view = &screen->watch->view;
	unsigned at;

	if (!view->class_name)
		view->class_name = classes->len ? classes->pdata[0] : NULL;
	else if (g_ptr_array_find((GPtrArray *)classes, view->class_name, &at) && at + 1 < classes->len)
		view->class_name = classes->pdata[at + 1];
	else
		view->class_name = NULL;
}

static void type(struct screen *screen, int key)
{
	if (key == '\n' || key == '\r' || key == KEY_ENTER || key == ESCAPE)
		screen->typing = false;
	if (key == ESCAPE)
		g_string_truncate(screen->filter, 0);
	if ((key == KEY_BACKSPACE || key == '\b' || key == 127) && screen->filter->len)
		g_string_truncate(screen->filter, screen->filter->len - 1);
	if (key >= ' ' && key <= '~' && screen->filter->len < FILTER_MAX)
		g_string_append_c(screen->filter, (char)key);
}

static void scroll_list(struct screen *screen, int key)
{
	unsigned page = lines_for_list(), top = screen->top;

	switch (key) {
	case KEY_UP:
		screen->top = top ? top - 1 : 0;
		break;
	case KEY_DOWN:
		screen->top = top + 1;
		break;
	case KEY_PPAGE:
		screen->top = top > page ? top - page : 0;
		break;
	case KEY_NPAGE:
		screen->top = top + page;
		break;
	case KEY_HOME:
		screen->top = 0;
		break;
	case KEY_END:
		screen->top = screen->list->len;
		break;
	}
}

static bool choose_sort(struct rates_view *view, int key)
{
	static const char keys[] = { [RATES_BY_TOTAL] = 't', [RATES_BY_IN] = 'i', [RATES_BY_OUT] = 'o', [RATES_BY_PACKETS] = 'p',
		                     [RATES_BY_ADDRESS] = 'a', [RATES_BY_ROUTER] = 'r' };

	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		if (key == keys[i]) {
			view->sort = (enum rates_sort)i;
			return true;
		}
	if (key == 's')
		view->sort = (enum rates_sort)((view->sort + 1) % RATES_SORTS);
	return key == 's';
}

static void obey(struct screen *screen, int key)
{
	struct rates_view *view = &screen->watch->view;

	if (screen->typing) {
		type(screen, key);
	} else if (screen->help) {
		screen->help = key == KEY_RESIZE;
	} else if (!choose_sort(view, key)) {
		screen->done = key == 'q' || key == 'Q';
		screen->typing = key == '/';
		screen->help = key == '?' || key == 'h';
		screen->paused ^= key == ' ';
		screen->bits ^= key == 'b';
		view->busy ^= key == 'z';
		if (key == ESCAPE)
			g_string_truncate(screen->filter, 0);
		if (key == 'c')
			next_class(screen);
		scroll_list(screen, key);
	}
	view->filter = screen->filter->str;
}

/* ---- turns ---- */

/* Whoever presses Ctrl-C is done as with q.  curses leaves a handler alone that is there before it. */
static volatile sig_atomic_t interrupted;

static void take_interrupt(int number)
{
	interrupted = number;
}

static void list_anew(struct screen *screen)
{
	g_clear_pointer(&screen->list, g_ptr_array_unref);
	screen->list = rates_list(screen->watch->rates, &screen->watch->view);
}

static bool is_due(const struct screen *screen, int64_t began_us)
{
	return interrupted || (!screen->paused && !watch_wait_us(began_us));
}

/* Draws, and obeys keys until the next turn is due. */
static void attend(struct screen *screen, int64_t began_us)
{
	do {
		bool is_gone = false;
		int key = ERR;

		list_anew(screen);
		draw(screen);
		while (key == ERR && !is_gone && !is_due(screen, began_us)) {
			timeout(screen->paused ? WATCH_HOLD_US / 1000 : (int)(watch_wait_us(began_us) / 1000) + 1);
			key = getch();
			is_gone = watch_let_go(screen->watch->reader, screen->watch->rates);
		}
		if (key != ERR)
			obey(screen, key);
	} while (!screen->done && !is_due(screen, began_us));
}

static bool run(struct screen *screen, GError **error)
{
	for (unsigned turn = 0; !screen->done && !interrupted && (!screen->watch->turns || turn <= screen->watch->turns); turn++) {
		int64_t began_us = clock_now().boot_us;

		if (!watch_turn(screen->watch, error))
			return false;
		attend(screen, began_us);
	}
	return true;
}

bool watch_screen(struct watch *watch, GError **error)
{
	struct screen screen = { .watch = watch, .blocks = g_get_charset(NULL) };
	const char *terminal = g_getenv("TERM");
	struct sigaction action = { .sa_handler = take_interrupt, .sa_flags = (int)SA_RESETHAND };
	SCREEN *opened;
	bool done;

	sigaction(SIGINT, &action, NULL);
	opened = newterm(NULL, stdout, stdin);
	if (!opened) {
		g_set_error(error, g_quark_from_static_string("fipmeter-watch"), 0,
		            "the terminal %s is not known here (set TERM, or ask for --plain)", terminal ? terminal : "without TERM");
		return false;
	}
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	curs_set(0);
	set_escdelay(ESCAPE_MS);
	screen.filter = g_string_new(watch->view.filter);
	watch->view.filter = screen.filter->str;
	watch->view.busy = false;
	done = run(&screen, error);
	endwin();
	delscreen(opened);
	watch->view.filter = NULL;
	g_clear_pointer(&screen.list, g_ptr_array_unref);
	g_string_free(screen.filter, TRUE);
	return done;
}
