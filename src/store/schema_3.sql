-- SPDX-License-Identifier: GPL-2.0-or-later
--
-- Format 3: the residue, what a router's own devices say went through and no counter has (docs/residue.md).
PRAGMA user_version = 3;

-- One row a router and hour of UTC in which windows of it were judged: sums over these.  A window belongs whole to the hour
-- of its begin.  Bytes: received and sent by the external devices as these count; in and out as they are in usage_fact; what
-- of the former certainly passed uncounted; what was counted beyond what all devices together received.  flagged: how many of
-- the windows could not be explained.  No sum of it is beyond 2^56: what is, is no measurement.
CREATE TABLE residue_fact (
	start_us INTEGER NOT NULL CHECK (typeof(start_us) = 'integer'),
	node TEXT NOT NULL,
	router TEXT NOT NULL,
	end_us INTEGER NOT NULL CHECK (typeof(end_us) = 'integer'),
	windows INTEGER NOT NULL CHECK (typeof(windows) = 'integer' AND windows > 0),
	received_bytes INTEGER NOT NULL CHECK (typeof(received_bytes) = 'integer' AND received_bytes >= 0),
	sent_bytes INTEGER NOT NULL CHECK (typeof(sent_bytes) = 'integer' AND sent_bytes >= 0),
	in_bytes INTEGER NOT NULL CHECK (typeof(in_bytes) = 'integer' AND in_bytes >= 0),
	out_bytes INTEGER NOT NULL CHECK (typeof(out_bytes) = 'integer' AND out_bytes >= 0),
	residue_in_bytes INTEGER NOT NULL CHECK (typeof(residue_in_bytes) = 'integer' AND residue_in_bytes >= 0),
	residue_out_bytes INTEGER NOT NULL CHECK (typeof(residue_out_bytes) = 'integer' AND residue_out_bytes >= 0),
	excess_bytes INTEGER NOT NULL CHECK (typeof(excess_bytes) = 'integer' AND excess_bytes >= 0),
	flagged INTEGER NOT NULL CHECK (typeof(flagged) = 'integer' AND flagged BETWEEN 0 AND windows),
	PRIMARY KEY (start_us, node, router)
) WITHOUT ROWID;

CREATE VIEW residue AS
SELECT start_us AS start, end_us AS "end", node, router, windows, received_bytes, sent_bytes, in_bytes, out_bytes,
	residue_in_bytes, residue_out_bytes, excess_bytes, flagged
FROM residue_fact;
