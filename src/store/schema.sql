-- SPDX-License-Identifier: GPL-2.0-or-later
--
-- The tables of usage.db.  Facts are normalised: a usage row holds the number of its meter, a meter that of its
-- generation.  The views `usage`, `meters` and `coverage` show them with all names, so that anybody can read the
-- file with `sqlite3 -readonly usage.db`.  All times are microseconds of UTC, all numbers integers of 64 bit.
--
-- Check it yourself: for every meter what is booked sums to its last reading minus its first (`booked`: format 2).  This
-- finds none:
--
--   SELECT m.meter, m.address, m.class FROM meters m LEFT JOIN booked b ON b.meter = m.meter
--   WHERE ifnull(b.in_bytes, 0) <> m.last_in_bytes - m.first_in_bytes
--      OR ifnull(b.in_packets, 0) <> m.last_in_packets - m.first_in_packets
--      OR ifnull(b.out_bytes, 0) <> m.last_out_bytes - m.first_out_bytes
--      OR ifnull(b.out_packets, 0) <> m.last_out_packets - m.first_out_packets;
--
-- The CHECKs are also what `PRAGMA quick_check` knows a damaged value by.
--
-- This is format 1.  A new file gets this text and then those of all later formats (schema_2.sql, ...); a file of an
-- older one gets those it lacks, in one transaction.  So what is written here is never changed again.

PRAGMA application_id = 0x46495055;
PRAGMA user_version = 1;

-- One row a store id; the last one is the current.  A new one begins where rows of the old may be lost: then `after`
-- is the store whose baselines went on, and after_commits how many of its commits these had seen.  commits goes on
-- counting over all ids.
CREATE TABLE store (
	store INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
	created_us INTEGER NOT NULL CHECK (typeof(created_us) = 'integer'),
	reason TEXT NOT NULL,
	after TEXT NOT NULL CHECK (length(after) IN (0, 32)),
	after_commits INTEGER NOT NULL CHECK (typeof(after_commits) = 'integer'),
	commits INTEGER NOT NULL CHECK (typeof(commits) = 'integer' AND commits >= 0),
	last_seq INTEGER NOT NULL CHECK (typeof(last_seq) = 'integer' AND last_seq >= 0)
);

-- One life of our counters in one namespace.  made: created, or found; read: the last reading that is in the books.
CREATE TABLE generation (
	generation INTEGER PRIMARY KEY,
	tag TEXT NOT NULL,
	boot TEXT NOT NULL,
	node TEXT NOT NULL,
	ns TEXT NOT NULL,
	router TEXT NOT NULL,
	basis TEXT NOT NULL CHECK (basis IN ('skb', 'wire')),
	made_us INTEGER NOT NULL CHECK (typeof(made_us) = 'integer'),
	made_boot_us INTEGER NOT NULL CHECK (typeof(made_boot_us) = 'integer'),
	read_us INTEGER NOT NULL CHECK (typeof(read_us) = 'integer'),
	read_boot_us INTEGER NOT NULL CHECK (typeof(read_boot_us) = 'integer'),
	UNIQUE (tag, boot, ns)
);
CREATE INDEX generation_by_router ON generation (router);

-- What a pair of counters counts for, its first and its last reading.  closed_us = 0: it is open.
CREATE TABLE meter (
	meter INTEGER PRIMARY KEY,
	generation INTEGER NOT NULL REFERENCES generation,
	kind TEXT NOT NULL CHECK (kind IN ('floating', 'gateway', 'unattributed', 'direct')),
	address TEXT NOT NULL CHECK (length(address) <= 15),
	fixed TEXT NOT NULL CHECK (length(fixed) <= 15),
	class TEXT NOT NULL CHECK (length(class) BETWEEN 1 AND 15),
	flags INTEGER NOT NULL CHECK (typeof(flags) = 'integer' AND flags >= 0),
	first_us INTEGER NOT NULL CHECK (typeof(first_us) = 'integer'),
	first_boot_us INTEGER NOT NULL CHECK (typeof(first_boot_us) = 'integer'),
	first_in_bytes INTEGER NOT NULL CHECK (typeof(first_in_bytes) = 'integer' AND first_in_bytes >= 0),
	first_in_packets INTEGER NOT NULL CHECK (typeof(first_in_packets) = 'integer' AND first_in_packets >= 0),
	first_out_bytes INTEGER NOT NULL CHECK (typeof(first_out_bytes) = 'integer' AND first_out_bytes >= 0),
	first_out_packets INTEGER NOT NULL CHECK (typeof(first_out_packets) = 'integer' AND first_out_packets >= 0),
	last_us INTEGER NOT NULL CHECK (typeof(last_us) = 'integer'),
	last_boot_us INTEGER NOT NULL CHECK (typeof(last_boot_us) = 'integer'),
	last_in_bytes INTEGER NOT NULL CHECK (typeof(last_in_bytes) = 'integer' AND last_in_bytes >= first_in_bytes),
	last_in_packets INTEGER NOT NULL
		CHECK (typeof(last_in_packets) = 'integer' AND last_in_packets >= first_in_packets),
	last_out_bytes INTEGER NOT NULL
		CHECK (typeof(last_out_bytes) = 'integer' AND last_out_bytes >= first_out_bytes),
	last_out_packets INTEGER NOT NULL
		CHECK (typeof(last_out_packets) = 'integer' AND last_out_packets >= first_out_packets),
	closed_us INTEGER NOT NULL CHECK (typeof(closed_us) = 'integer')
);
CREATE INDEX meter_by_address ON meter (address);
-- Two open meters of one counter would count it twice.
CREATE UNIQUE INDEX meter_open ON meter (generation, kind, address, class) WHERE closed_us = 0;

-- What a meter counted between two readings.  end_: what the counters showed at its end.
CREATE TABLE usage_fact (
	store INTEGER NOT NULL REFERENCES store,
	seq INTEGER NOT NULL CHECK (seq > 0),
	meter INTEGER NOT NULL REFERENCES meter,
	start_us INTEGER NOT NULL,
	end_us INTEGER NOT NULL CHECK (end_us >= start_us),
	in_bytes INTEGER NOT NULL CHECK (in_bytes >= 0),
	in_packets INTEGER NOT NULL CHECK (in_packets >= 0),
	out_bytes INTEGER NOT NULL CHECK (out_bytes >= 0),
	out_packets INTEGER NOT NULL CHECK (out_packets >= 0),
	flags INTEGER NOT NULL CHECK (flags >= 0),
	end_in_bytes INTEGER NOT NULL CHECK (end_in_bytes >= in_bytes),
	end_in_packets INTEGER NOT NULL CHECK (end_in_packets >= in_packets),
	end_out_bytes INTEGER NOT NULL CHECK (end_out_bytes >= out_bytes),
	end_out_packets INTEGER NOT NULL CHECK (end_out_packets >= out_packets),
	PRIMARY KEY (store, seq)
) WITHOUT ROWID;
-- Enough to find the rows of a meter in a time without looking at the others.  An index that begins with the meter
-- would find them at once, but each commit would then write a page of it for every meter: sixty times more than the
-- rows themselves.
CREATE INDEX usage_by_start ON usage_fact (start_us, store, seq, meter);

-- Was it measured?  address '': the whole router.
CREATE TABLE coverage_fact (
	store INTEGER NOT NULL REFERENCES store,
	seq INTEGER NOT NULL CHECK (seq > 0),
	node TEXT NOT NULL,
	router TEXT NOT NULL,
	address TEXT NOT NULL CHECK (length(address) <= 15),
	start_us INTEGER NOT NULL CHECK (typeof(start_us) = 'integer'),
	end_us INTEGER NOT NULL CHECK (typeof(end_us) = 'integer' AND end_us >= start_us),
	state TEXT NOT NULL CHECK (state IN ('metered', 'standby', 'gap', 'unknown')),
	reason TEXT NOT NULL,
	PRIMARY KEY (store, seq)
) WITHOUT ROWID;

CREATE VIEW usage AS
SELECT s.id AS store, u.seq, g.node, g.router, m.kind, m.address, m.fixed, m.class,
	u.start_us AS start, u.end_us AS "end", u.in_bytes, u.in_packets, u.out_bytes, u.out_packets, g.basis,
	rtrim(CASE WHEN u.flags & 1 THEN 'catchup ' ELSE '' END ||
	      CASE WHEN u.flags & 2 THEN 'unknown_start ' ELSE '' END ||
	      CASE WHEN u.flags & 4 THEN 'reset ' ELSE '' END ||
	      CASE WHEN u.flags & 8 THEN 'gap ' ELSE '' END ||
	      CASE WHEN u.flags & 16 THEN 'late ' ELSE '' END ||
	      CASE WHEN u.flags & 32 THEN 'moved ' ELSE '' END) AS flags,
	u.meter, u.end_in_bytes, u.end_in_packets, u.end_out_bytes, u.end_out_packets
FROM usage_fact u
JOIN store s ON s.store = u.store
JOIN meter m ON m.meter = u.meter
JOIN generation g ON g.generation = m.generation;

CREATE VIEW meters AS
SELECT m.meter, g.node, g.router, g.ns, g.boot, g.tag AS generation, m.kind, m.address, m.fixed, m.class, g.basis,
	m.first_us AS first, m.first_in_bytes, m.first_in_packets, m.first_out_bytes, m.first_out_packets,
	m.last_us AS last, m.last_in_bytes, m.last_in_packets, m.last_out_bytes, m.last_out_packets,
	m.closed_us AS closed
FROM meter m
JOIN generation g ON g.generation = m.generation;

CREATE VIEW coverage AS
SELECT s.id AS store, c.seq, c.node, c.router, c.address, c.start_us AS start, c.end_us AS "end", c.state, c.reason
FROM coverage_fact c
JOIN store s ON s.store = c.store;
