/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times and periods.  The calendar is GLib's (GDate), the offsets are the time zone's own (GTimeZone);
 * between the two stands "local seconds": what the clock on the wall shows, counted as if it were UTC.
 *
 * Periods leave no hole and never overlap, whatever the zone does.  A day begins with the first instant that
 * bears its date: where clocks jump over midnight that is later than 00:00, where midnight comes twice it is
 * the first one.  An hour or minute in whose middle the offset changes is cut there.  A time of day that comes
 * twice or never is no answer to "when": it is refused, and the message says how to write it with an offset.
 */
#include "core/period.h"

#include <string.h>

#define SECOND INT64_C(1000000)
#define DAY_S INT64_C(86400)
#define JULIAN_EPOCH 719163            /* GDate's number of 1970-01-01 */
#define LATEST_S INT64_C(253402300799) /* the last second of 9999 */

static const char *const period_names[] = {
	[PERIOD_INTERVAL] = "interval", [PERIOD_MINUTE] = "minute", [PERIOD_HOUR] = "hour",
	[PERIOD_DAY] = "day", [PERIOD_MONTH] = "month", [PERIOD_TOTAL] = "total",
};

bool period_from_name(const char *name, enum period *period)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(period_names); i++)
		if (g_str_equal(name, period_names[i])) {
			*period = (enum period)i;
			return true;
		}
	return false;
}

const char *period_name(enum period period)
{
	return period_names[period];
}

/* ---- offsets ---- */

static int64_t floor_to(int64_t value, int64_t unit)
{
	int64_t rest = value % unit;

	return value - rest - (rest < 0 ? unit : 0);
}

static int64_t to_seconds(int64_t time_us)
{
	return time_us / SECOND - (time_us % SECOND < 0);
}

/* Seconds that the zone is ahead of UTC at this instant. */
static int64_t offset_at(GTimeZone *timezone, int64_t utc_s)
{
	int interval = g_time_zone_find_interval(timezone, G_TIME_TYPE_UNIVERSAL, utc_s);

	return g_time_zone_get_offset(timezone, interval);
}

/* The first second after low that has high's offset; low's is another, and it changes once between the
 * two. */
static int64_t change_between(GTimeZone *timezone, int64_t low, int64_t high)
{
	int64_t offset = offset_at(timezone, high);

	while (high - low > 1) {
		int64_t middle = low + (high - low) / 2;

		if (offset_at(timezone, middle) == offset)
			high = middle;
		else
			low = middle;
	}
	return high;
}

/* The first instant at which the wall clock shows local_s or later.  Zones change their offset months
 * apart, so at most once within a day to either side. */
static int64_t first_at_local(GTimeZone *timezone, int64_t local_s)
{
	int64_t before = offset_at(timezone, local_s - DAY_S), after = offset_at(timezone, local_s + DAY_S);
	int64_t change;

	if (before == after)
		return local_s - before;
	change = change_between(timezone, local_s - DAY_S, local_s + DAY_S);
	return local_s - before <= change ? local_s - before : MAX(change, local_s - after);
}

/* ---- periods ---- */

/* A minute or hour: of the wall clock, cut where the offset changes. */
static void clock_bounds(int64_t length_s, int64_t utc_s, GTimeZone *timezone, int64_t *start_s, int64_t *end_s)
{
	int64_t offset = offset_at(timezone, utc_s);
	int64_t start = floor_to(utc_s + offset, length_s) - offset, end = start + length_s;

	if (offset_at(timezone, start) != offset)
		start = change_between(timezone, start, utc_s);
	if (offset_at(timezone, end - 1) != offset)
		end = change_between(timezone, utc_s, end - 1);
	*start_s = start;
	*end_s = end;
}

static void date_of(int64_t local_s, GDate *date)
{
	g_date_clear(date, 1);
	g_date_set_julian(date, (guint32)(floor_to(local_s, DAY_S) / DAY_S + JULIAN_EPOCH));
}

static int64_t start_of(const GDate *date, GTimeZone *timezone)
{
	return first_at_local(timezone, ((int64_t)g_date_get_julian(date) - JULIAN_EPOCH) * DAY_S);
}

static void add_period(GDate *date, bool month)
{
	if (month)
		g_date_add_months(date, 1);
	else
		g_date_add_days(date, 1);
}

static void calendar_bounds(bool month, int64_t utc_s, GTimeZone *timezone, int64_t *start_s, int64_t *end_s)
{
	GDate date;

	date_of(utc_s + offset_at(timezone, utc_s), &date);
	if (month)
		g_date_set_day(&date, 1);
	*start_s = start_of(&date, timezone);
	add_period(&date, month);
	*end_s = start_of(&date, timezone);
	/* A clock that was set back over midnight shows yesterday's date again; the day has begun all the
	 * same. */
	while (*end_s <= utc_s) {
		*start_s = *end_s;
		add_period(&date, month);
		*end_s = start_of(&date, timezone);
	}
}

void period_bounds(enum period period, int64_t time_us, GTimeZone *timezone, int64_t *start_us, int64_t *end_us)
{
	int64_t utc_s = CLAMP(to_seconds(time_us), 0, LATEST_S - 366 * DAY_S), start_s = 0, end_s = 0;

	switch (period) {
	case PERIOD_MINUTE:
		clock_bounds(60, utc_s, timezone, &start_s, &end_s);
		break;
	case PERIOD_HOUR:
		clock_bounds(3600, utc_s, timezone, &start_s, &end_s);
		break;
	case PERIOD_DAY:
		calendar_bounds(false, utc_s, timezone, &start_s, &end_s);
		break;
	case PERIOD_MONTH:
		calendar_bounds(true, utc_s, timezone, &start_s, &end_s);
		break;
	case PERIOD_INTERVAL:
	case PERIOD_TOTAL:
		g_assert_not_reached();
	}
	*start_us = start_s * SECOND;
	*end_us = end_s * SECOND;
}

int64_t period_next_sample(int64_t now_us, int64_t interval_us)
{
	return floor_to(now_us, interval_us) + interval_us;
}

/* ---- reading times ---- */

/* What a text says, before the zone comes in. */
struct written {
	int64_t local_s;
	int64_t fraction_us;
	bool has_clock;     /* more than a date */
	bool has_offset;
	int64_t offset_s;
};

/* Takes exactly this many digits. */
static bool take_digits(const char **text, unsigned digits, int64_t *value)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < digits; i++) {
		if (!g_ascii_isdigit((*text)[i]))
			return false;
		sum = sum * 10 + ((*text)[i] - '0');
	}
	*text += digits;
	*value = sum;
	return true;
}

static bool take(const char **text, char wanted)
{
	if (**text != wanted)
		return false;
	++*text;
	return true;
}

/* Digits after a point; those beyond the sixth say nothing here. */
static bool take_fraction(const char **text, int64_t *fraction_us)
{
	int64_t unit = SECOND;

	if (!g_ascii_isdigit(**text))
		return false;
	*fraction_us = 0;
	for (; g_ascii_isdigit(**text); ++*text) {
		unit /= 10;
		*fraction_us += (**text - '0') * unit;
	}
	return true;
}

static bool take_date(const char **text, int64_t *local_s)
{
	int64_t year, month, day;
	GDate date;

	if (!take_digits(text, 4, &year) || !take(text, '-') || !take_digits(text, 2, &month) || !take(text, '-') ||
	    !take_digits(text, 2, &day))
		return false;
	if (year < 1970 || !g_date_valid_dmy((GDateDay)day, (GDateMonth)month, (GDateYear)year))
		return false;
	g_date_clear(&date, 1);
	g_date_set_dmy(&date, (GDateDay)day, (GDateMonth)month, (GDateYear)year);
	*local_s = ((int64_t)g_date_get_julian(&date) - JULIAN_EPOCH) * DAY_S;
	return true;
}

/* HH:MM[:SS[.fraction]]; a leap second (:60) is the next one's start, as it is on the system's clock. */
static bool take_clock(const char **text, struct written *written)
{
	int64_t hour, minute, second = 0;

	if (!take_digits(text, 2, &hour) || !take(text, ':') || !take_digits(text, 2, &minute))
		return false;
	if (take(text, ':') && !take_digits(text, 2, &second))
		return false;
	if (take(text, '.') && !take_fraction(text, &written->fraction_us))
		return false;
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	written->local_s += hour * 3600 + minute * 60 + second;
	written->has_clock = true;
	return true;
}

static bool take_offset(const char **text, struct written *written)
{
	bool west = **text == '-';
	int64_t hours, minutes;

	written->has_offset = true;
	if (take(text, 'Z') || take(text, 'z'))
		return true;
	if (!take(text, '+') && !take(text, '-'))
		return false;
	if (!take_digits(text, 2, &hours) || !take(text, ':') || !take_digits(text, 2, &minutes))
		return false;
	if (hours > 23 || minutes > 59)
		return false;
	written->offset_s = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
	return true;
}

static bool parse_written(const char *text, struct written *written)
{
	*written = (struct written){ 0 };
	if (!take_date(&text, &written->local_s))
		return false;
	if (!*text)
		return true;
	if (!take(&text, 'T') && !take(&text, 't') && !take(&text, ' '))
		return false;
	if (!take_clock(&text, written) || (*text && !take_offset(&text, written)))
		return false;
	return !*text;
}

/* A time of day without offset: it must come exactly once. */
static bool resolve_clock(const char *text, int64_t local_s, GTimeZone *timezone, int64_t *utc_s, GError **error)
{
	int64_t before = offset_at(timezone, local_s - DAY_S), after = offset_at(timezone, local_s + DAY_S);
	bool is_early = offset_at(timezone, local_s - before) == before;
	bool is_late = offset_at(timezone, local_s - after) == after;
	g_autofree char *early = time_format((local_s - before) * SECOND, timezone);
	g_autofree char *late = time_format((local_s - after) * SECOND, timezone);

	*utc_s = local_s - (is_early ? before : after);
	if (before == after || is_early != is_late)
		return true;
	if (is_early)
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' comes twice in time zone %s, clocks are set back (right: %s or %s)", text,
		            g_time_zone_get_identifier(timezone), early, late);
	else
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' does not exist in time zone %s, clocks are set forward (right: %s or %s)", text,
		            g_time_zone_get_identifier(timezone), late, early);
	return false;
}

static bool parse_calendar(const char *text, GTimeZone *timezone, int64_t *time_us, GError **error)
{
	struct written written;
	int64_t utc_s;

	if (!parse_written(text, &written)) {
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' is no time (right: 2026-07-23T14:05:00+02:00, 2026-07-23, epoch seconds, now, "
		            "today, -90m)", text);
		return false;
	}
	if (written.has_offset)
		utc_s = written.local_s - written.offset_s;
	else if (!written.has_clock)
		utc_s = first_at_local(timezone, written.local_s);
	else if (!resolve_clock(text, written.local_s, timezone, &utc_s, error))
		return false;
	*time_us = utc_s * SECOND + written.fraction_us;
	return true;
}

static int64_t unit_seconds(char unit)
{
	switch (unit) {
	case 's': return 1;
	case 'm': return 60;
	case 'h': return 3600;
	case 'd': return DAY_S;
	case 'w': return 7 * DAY_S;
	default: return 0;
	}
}

/* -90m: so much before now; a day is 24 hours, whatever the zone did. */
static bool parse_back(const char *text, int64_t now_us, int64_t *time_us, GError **error)
{
	char *end = NULL;
	guint64 count = g_ascii_isdigit(text[1]) ? g_ascii_strtoull(text + 1, &end, 10) : 0;
	int64_t unit = end && *end && !end[1] ? unit_seconds(*end) : 0;

	if (!unit || count > (guint64)LATEST_S) {
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' is no offset back from now (right: -30s, -90m, -1h, -2d, -1w)", text);
		return false;
	}
	*time_us = now_us - (int64_t)MIN(count, (guint64)(LATEST_S / unit)) * unit * SECOND;
	return true;
}

static bool is_epoch(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits && (!text[digits] || text[digits] == '.');
}

static bool parse_epoch(const char *text, int64_t *time_us, GError **error)
{
	char *end;
	guint64 seconds = g_ascii_strtoull(text, &end, 10);
	const char *rest = end;
	int64_t fraction_us = 0;

	if (strspn(text, "0123456789") == 8) { /* 20260723 is the 23rd of August 1970, and surely not meant */
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' is neither a date nor epoch seconds of this century (right: %.4s-%.2s-%.2s)", text,
		            text, text + 4, text + 6);
		return false;
	}
	if ((take(&rest, '.') && !take_fraction(&rest, &fraction_us)) || *rest || seconds > (guint64)LATEST_S) {
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' is no epoch time (right: whole seconds since 1970, such as 1784808300)", text);
		return false;
	}
	*time_us = (int64_t)seconds * SECOND + fraction_us;
	return true;
}

bool time_parse(const char *text, int64_t now_us, GTimeZone *timezone, int64_t *time_us, GError **error)
{
	int64_t parsed_us = now_us, end_us;

	if (g_str_equal(text, "today"))
		period_bounds(PERIOD_DAY, now_us, timezone, &parsed_us, &end_us);
	else if (text[0] == '-') {
		if (!parse_back(text, now_us, &parsed_us, error))
			return false;
	} else if (is_epoch(text)) {
		if (!parse_epoch(text, &parsed_us, error))
			return false;
	} else if (!g_str_equal(text, "now")) {
		if (!parse_calendar(text, timezone, &parsed_us, error))
			return false;
	}
	if (parsed_us < 0 || parsed_us > LATEST_S * SECOND) {
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
		            "'%s' is out of range (right: a time from 1970 to 9999)", text);
		return false;
	}
	*time_us = parsed_us;
	return true;
}

/* ---- writing times ---- */

char *time_format(int64_t time_us, GTimeZone *timezone)
{
	int64_t utc_s = to_seconds(time_us), offset = offset_at(timezone, utc_s), local_s = utc_s + offset;
	unsigned fraction = (unsigned)((time_us % SECOND + SECOND) % SECOND);
	unsigned clock = (unsigned)(local_s - floor_to(local_s, DAY_S));
	g_autoptr(GString) text = g_string_new(NULL);
	GDate date;

	if (utc_s < -DAY_S || utc_s > LATEST_S + DAY_S) { /* no calendar date that RFC 3339 could write */
		g_string_printf(text, "%" G_GINT64_FORMAT, utc_s);
		return g_string_free(g_steal_pointer(&text), FALSE);
	}
	date_of(local_s, &date);
	g_string_printf(text, "%04u-%02u-%02uT%02u:%02u:%02u", g_date_get_year(&date), g_date_get_month(&date),
	                g_date_get_day(&date), clock / 3600, clock / 60 % 60, clock % 60);
	if (fraction)
		g_string_append_printf(text, ".%06u", fraction);
	if (offset)
		g_string_append_printf(text, "%c%02u:%02u", offset < 0 ? '-' : '+', (unsigned)ABS(offset) / 3600,
		                       (unsigned)ABS(offset) / 60 % 60);
	else
		g_string_append_c(text, 'Z');
	return g_string_free(g_steal_pointer(&text), FALSE);
}
