-- SPDX-License-Identifier: GPL-2.0-or-later
--
-- Format 2: sums of hours and days, so that the single rows need not be kept for ever.
--
-- Every row of usage_fact with a seq up to rollup.rolled_seq is in exactly one row of hour_fact and in exactly one of
-- day_fact: those of its meter whose period holds its start.  Rows behind that are in none yet.  Rows with a seq up to
-- rollup.dropped_seq are here no more.  Days are kept for ever, so for every meter, at any time,
--
--   sum of its days + sum of its rows behind rolled_seq = last reading - first reading
--
-- which is what the view `booked` has.  `SELECT * FROM day` is the bill.
PRAGMA user_version = 2;

-- How far the rows of each store id have come.
CREATE TABLE rollup (
	store INTEGER PRIMARY KEY REFERENCES store,
	rolled_seq INTEGER NOT NULL CHECK (typeof(rolled_seq) = 'integer' AND rolled_seq >= 0),
	dropped_seq INTEGER NOT NULL CHECK (typeof(dropped_seq) = 'integer' AND dropped_seq BETWEEN 0 AND rolled_seq)
);
INSERT INTO rollup SELECT store, 0, 0 FROM store;

-- One row.  timezone: whose days and hours; '' before the first.  Rows that start before rows_from_us, and hours that
-- start before hours_from_us, are here no more, or not all of them.
CREATE TABLE kept (
	kept INTEGER PRIMARY KEY CHECK (kept = 1),
	timezone TEXT NOT NULL,
	rows_from_us INTEGER NOT NULL CHECK (typeof(rows_from_us) = 'integer'),
	hours_from_us INTEGER NOT NULL CHECK (typeof(hours_from_us) = 'integer')
);
INSERT INTO kept VALUES (1, '', 0, 0);

-- flags: of all its rows; usage_rows: how many they are; crossing: how many of them end behind the period's end.
CREATE TABLE hour_fact (
	start_us INTEGER NOT NULL,
	meter INTEGER NOT NULL REFERENCES meter,
	end_us INTEGER NOT NULL CHECK (end_us > start_us),
	in_bytes INTEGER NOT NULL CHECK (in_bytes >= 0),
	in_packets INTEGER NOT NULL CHECK (in_packets >= 0),
	out_bytes INTEGER NOT NULL CHECK (out_bytes >= 0),
	out_packets INTEGER NOT NULL CHECK (out_packets >= 0),
	flags INTEGER NOT NULL CHECK (flags >= 0),
	usage_rows INTEGER NOT NULL CHECK (usage_rows > 0),
	crossing INTEGER NOT NULL CHECK (crossing BETWEEN 0 AND usage_rows),
	PRIMARY KEY (start_us, meter)
) WITHOUT ROWID;

CREATE TABLE day_fact (
	start_us INTEGER NOT NULL,
	meter INTEGER NOT NULL REFERENCES meter,
	end_us INTEGER NOT NULL CHECK (end_us > start_us),
	in_bytes INTEGER NOT NULL CHECK (in_bytes >= 0),
	in_packets INTEGER NOT NULL CHECK (in_packets >= 0),
	out_bytes INTEGER NOT NULL CHECK (out_bytes >= 0),
	out_packets INTEGER NOT NULL CHECK (out_packets >= 0),
	flags INTEGER NOT NULL CHECK (flags >= 0),
	usage_rows INTEGER NOT NULL CHECK (usage_rows > 0),
	crossing INTEGER NOT NULL CHECK (crossing BETWEEN 0 AND usage_rows),
	PRIMARY KEY (start_us, meter)
) WITHOUT ROWID;

-- What the books hold for each meter.
CREATE VIEW booked AS
SELECT meter, sum(in_bytes) AS in_bytes, sum(in_packets) AS in_packets, sum(out_bytes) AS out_bytes,
	sum(out_packets) AS out_packets
FROM (
	SELECT meter, in_bytes, in_packets, out_bytes, out_packets FROM day_fact
	UNION ALL
	SELECT u.meter, u.in_bytes, u.in_packets, u.out_bytes, u.out_packets FROM usage_fact u
	JOIN rollup r ON r.store = u.store AND u.seq > r.rolled_seq
) GROUP BY meter;

CREATE VIEW hour AS
SELECT h.start_us AS start, h.end_us AS "end", g.node, g.router, m.kind, m.address, m.fixed, m.class, h.in_bytes,
	h.in_packets, h.out_bytes, h.out_packets, g.basis, h.flags, h.usage_rows, h.crossing, h.meter
FROM hour_fact h
JOIN meter m ON m.meter = h.meter
JOIN generation g ON g.generation = m.generation;

CREATE VIEW day AS
SELECT d.start_us AS start, d.end_us AS "end", g.node, g.router, m.kind, m.address, m.fixed, m.class, d.in_bytes,
	d.in_packets, d.out_bytes, d.out_packets, g.basis, d.flags, d.usage_rows, d.crossing, d.meter
FROM day_fact d
JOIN meter m ON m.meter = d.meter
JOIN generation g ON g.generation = m.generation;
