-- SPDX-License-Identifier: GPL-2.0-or-later
--
-- Format 4: where `out` was counted.  It is told as a basis of its own, wire-sent: `in` as with wire, `out` as its external
-- device was given it to send.
PRAGMA user_version = 4;

ALTER TABLE generation ADD COLUMN out_point TEXT NOT NULL DEFAULT 'ingress' CHECK (out_point IN ('ingress', 'egress'));

-- The views as they were, but for the basis.
DROP VIEW usage;
CREATE VIEW usage AS
SELECT s.id AS store, u.seq, g.node, g.router, m.kind, m.address, m.fixed, m.class,
	u.start_us AS start, u.end_us AS "end", u.in_bytes, u.in_packets, u.out_bytes, u.out_packets,
	g.basis || CASE g.out_point WHEN 'egress' THEN '-sent' ELSE '' END AS basis,
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

DROP VIEW meters;
CREATE VIEW meters AS
SELECT m.meter, g.node, g.router, g.ns, g.boot, g.tag AS generation, m.kind, m.address, m.fixed, m.class,
	g.basis || CASE g.out_point WHEN 'egress' THEN '-sent' ELSE '' END AS basis,
	m.first_us AS first, m.first_in_bytes, m.first_in_packets, m.first_out_bytes, m.first_out_packets,
	m.last_us AS last, m.last_in_bytes, m.last_in_packets, m.last_out_bytes, m.last_out_packets,
	m.closed_us AS closed
FROM meter m
JOIN generation g ON g.generation = m.generation;

DROP VIEW hour;
CREATE VIEW hour AS
SELECT h.start_us AS start, h.end_us AS "end", g.node, g.router, m.kind, m.address, m.fixed, m.class, h.in_bytes,
	h.in_packets, h.out_bytes, h.out_packets,
	g.basis || CASE g.out_point WHEN 'egress' THEN '-sent' ELSE '' END AS basis,
	h.flags, h.usage_rows, h.crossing, h.meter
FROM hour_fact h
JOIN meter m ON m.meter = h.meter
JOIN generation g ON g.generation = m.generation;

DROP VIEW day;
CREATE VIEW day AS
SELECT d.start_us AS start, d.end_us AS "end", g.node, g.router, m.kind, m.address, m.fixed, m.class, d.in_bytes,
	d.in_packets, d.out_bytes, d.out_packets,
	g.basis || CASE g.out_point WHEN 'egress' THEN '-sent' ELSE '' END AS basis,
	d.flags, d.usage_rows, d.crossing, d.meter
FROM day_fact d
JOIN meter m ON m.meter = d.meter
JOIN generation g ON g.generation = m.generation;
