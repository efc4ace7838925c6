/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See explain.h.
 */
#include "core/explain.h"

#include <string.h>

/* ---- lives ---- */

static void life_free(void *data)
{
	struct explain_life *life = data;

	g_ptr_array_unref(life->meters);
	g_free(life);
}

/* Its counters count the same, and it had not ended when the meter began: one that was set back goes on as another meter. */
static bool goes_on(const struct explain_life *life, const struct meter *meter)
{
	return life->of == meter->of && life->kind == meter->key.kind && life->fixed == meter->fixed &&
	       (!life->to_us || life->to_us >= meter->first_at.utc_us);
}

static struct explain_life *find_life(const GPtrArray *lives, const struct meter *meter)
{
	for (unsigned i = lives->len; i > 0; i--)
		if (goes_on(lives->pdata[i - 1], meter))
			return lives->pdata[i - 1];
	return NULL;
}

static void add_meter(GPtrArray *lives, const struct meter *meter)
{
	struct explain_life *life = find_life(lives, meter);

	if (!life) {
		life = g_new0(struct explain_life, 1);
		life->of = meter->of;
		life->kind = meter->key.kind;
		life->fixed = meter->fixed;
		life->from_us = meter->first_at.utc_us;
		life->to_us = meter->closed_us;
		life->meters = g_ptr_array_new();
		g_ptr_array_add(lives, life);
	}
	life->from_us = MIN(life->from_us, meter->first_at.utc_us);
	life->to_us = life->to_us && meter->closed_us ? MAX(life->to_us, meter->closed_us) : 0;
	g_ptr_array_add(life->meters, (void *)meter);
}

static int compare_lives(const void *a, const void *b)
{
	const struct explain_life *x = *(struct explain_life *const *)a, *y = *(struct explain_life *const *)b;

	return (x->from_us > y->from_us) - (x->from_us < y->from_us);
}

static bool was_in_force(int64_t from_us, int64_t to_us, int64_t at_us)
{
	return from_us <= at_us && (!to_us || to_us > at_us);
}

/* The one that began last of those in force; else the one before; else the first of all. */
static const struct explain_life *choose_at(const GPtrArray *lives, int64_t at_us, bool *in_force)
{
	const struct explain_life *chosen = lives->pdata[0];

	*in_force = false;
	for (unsigned i = 0; i < lives->len; i++) {
		const struct explain_life *life = lives->pdata[i];
		bool now = was_in_force(life->from_us, life->to_us, at_us);

		if (now || (!*in_force && life->from_us <= at_us))
			chosen = life;
		*in_force |= now;
	}
	return chosen;
}

/* The one that goes on, or else the one that ended last. */
static const struct explain_life *choose_latest(const GPtrArray *lives)
{
	const struct explain_life *chosen = lives->pdata[0];

	for (unsigned i = 1; i < lives->len; i++) {
		const struct explain_life *life = lives->pdata[i];

		if (!life->to_us || (chosen->to_us && life->to_us >= chosen->to_us))
			chosen = life;
	}
	return chosen;
}

/* ---- lines ---- */

/* Of two meters of one class: which of them tells more of that time? */
static bool is_nearer(const struct meter *meter, const struct meter *than, int64_t at_us)
{
	if (was_in_force(meter->first_at.utc_us, meter->closed_us, at_us))
		return true;
	return !was_in_force(than->first_at.utc_us, than->closed_us, at_us) && meter->first_at.utc_us <= at_us;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(((const struct explain_line *)a)->meter->key.class_name,
	              ((const struct explain_line *)b)->meter->key.class_name);
}

/* A class that the configuration did not have at that time has no line, if there are others. */
static bool is_wanted(const struct explanation *explanation, const struct meter *meter)
{
	return !explanation->in_force || was_in_force(meter->first_at.utc_us, meter->closed_us, explanation->at_us);
}

static void make_lines(struct explanation *explanation)
{
	const GPtrArray *meters = explanation->life->meters;

	for (unsigned i = 0; i < meters->len; i++) {
		const struct explain_line line = { .meter = meters->pdata[i], .chains = true };
		struct explain_line *same = NULL;

		for (unsigned j = 0; j < explanation->lines->len && !same; j++) {
			same = &g_array_index(explanation->lines, struct explain_line, j);
			same = same->meter->key.class_name == line.meter->key.class_name ? same : NULL;
		}
		if (same && is_nearer(line.meter, same->meter, explanation->at_us))
			*same = line;
		else if (!same && is_wanted(explanation, line.meter))
			g_array_append_val(explanation->lines, line);
	}
	g_array_sort(explanation->lines, compare_lines);
}

void explanation_choose(struct explanation *explanation)
{
	for (unsigned i = 0; i < explanation->meters->len; i++)
		add_meter(explanation->lives, explanation->meters->pdata[i]);
	g_ptr_array_sort(explanation->lives, compare_lives);
	if (explanation->asked) {
		explanation->life = choose_at(explanation->lives, explanation->at_us, &explanation->in_force);
	} else {
		explanation->life = choose_latest(explanation->lives);
		explanation->in_force = !explanation->life->to_us;
		explanation->at_us = explanation->in_force ? explanation->life->of->read_at.utc_us : explanation->life->to_us;
	}
	make_lines(explanation);
}

/* ---- what is told of them ---- */

/* Gaps end where counting goes on, states at the last reading. */
static bool holds(const struct coverage *coverage, int64_t at_us)
{
	return coverage->start_us <= at_us &&
	       (coverage->end_us > at_us || (coverage->end_us == at_us && coverage->state != STATE_GAP));
}

enum state explanation_state(const struct explanation *explanation, const char **reason)
{
	const struct coverage *found = NULL;

	for (unsigned i = 0; i < explanation->coverage->len; i++) {
		const struct coverage *each = explanation->coverage->pdata[i];

		if (holds(each, explanation->at_us) && (!found || each->state == STATE_GAP))
			found = each;
	}
	if (reason)
		*reason = found ? found->reason : "";
	return found ? found->state : STATE_UNKNOWN;
}

struct counts explanation_sum(const struct explanation *explanation, unsigned *flags)
{
	struct counts sum = { 0 };

	*flags = 0;
	for (unsigned i = 0; i < explanation->lines->len; i++) {
		const struct explain_line *line = &g_array_index(explanation->lines, struct explain_line, i);

		counts_add(&sum, &line->row.counts);
		*flags |= line->row.flags;
	}
	return sum;
}

bool explain_is_same(const struct counts *a, const struct counts *b)
{
	return a->in_bytes == b->in_bytes && a->in_packets == b->in_packets && a->out_bytes == b->out_bytes &&
	       a->out_packets == b->out_packets;
}

bool explain_line_adds_up(const struct explain_line *line)
{
	struct counts expected = counts_minus(&line->meter->last, &line->meter->first);

	return explain_is_same(&expected, &line->booked);
}

bool explanation_adds_up(const struct explanation *explanation)
{
	bool all = true;

	for (unsigned i = 0; i < explanation->lines->len; i++)
		all &= explain_line_adds_up(&g_array_index(explanation->lines, struct explain_line, i));
	return all;
}

bool explanation_chains(const struct explanation *explanation)
{
	bool all = true;

	for (unsigned i = 0; i < explanation->lines->len; i++)
		all &= g_array_index(explanation->lines, struct explain_line, i).chains;
	return all;
}

/* Numbers that differ in one place or two, or that share what they begin with. */
unsigned explain_likeness(uint32_t a, uint32_t b)
{
	g_autofree char *x = address_to_string(a), *y = address_to_string(b);
	unsigned shared = a == b ? 32 : (unsigned)__builtin_clz(a ^ b), before = 0, behind = 0;
	size_t n = strlen(x), m = strlen(y);

	while (before < MIN(n, m) && x[before] == y[before])
		before++;
	while (behind < MIN(n, m) - before && x[n - 1 - behind] == y[m - 1 - behind])
		behind++;
	if (MAX(n, m) - before - behind <= 2)
		return 100 - (unsigned)(MAX(n, m) - before - behind) * 10 + shared;
	return shared >= 16 ? shared : 0;
}

/* ---- the struct ---- */

struct explanation *explanation_new(uint32_t address, int64_t at_us, bool asked)
{
	struct explanation *explanation = g_new0(struct explanation, 1);

	explanation->address = address;
	explanation->at_us = at_us;
	explanation->asked = asked;
	explanation->meters = g_ptr_array_new_with_free_func((GDestroyNotify)meter_free);
	explanation->lives = g_ptr_array_new_with_free_func(life_free);
	explanation->lines = g_array_new(FALSE, FALSE, sizeof(struct explain_line));
	explanation->coverage = g_ptr_array_new_with_free_func((GDestroyNotify)coverage_free);
	return explanation;
}

void explanation_free(struct explanation *explanation)
{
	if (!explanation)
		return;
	g_array_unref(explanation->lines);
	g_ptr_array_unref(explanation->lives);
	g_ptr_array_unref(explanation->meters);
	g_ptr_array_unref(explanation->coverage);
	g_free(explanation);
}
