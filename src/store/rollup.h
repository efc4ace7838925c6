/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store in the long run: rows are summed into hours and days, and go when their time is over.  What is summed, and how
 * an auditor can follow it, stands in schema_2.sql.
 *
 * Rows are summed in the order they were written (seq), not by their times: a row that is late, or whose clock was wrong,
 * is in its hour and its day exactly once all the same.  Sums are gathered in memory and written when an hour is over, or
 * when there are ten rows to each of them; being killed before that loses nothing, they are made again.
 */
#ifndef FIPMETER_STORE_ROLLUP_H
#define FIPMETER_STORE_ROLLUP_H

#include "store/store.h"

struct rollup;

struct rollup *rollup_new(void);
void rollup_free(struct rollup *rollup); /* takes NULL */

#endif
