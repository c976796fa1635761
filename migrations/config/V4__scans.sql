-- Scans: what was launched, with its scope frozen, and how far it came. What must last of a scan is here; jobs.db
-- has only what its scanners are doing right now.

-- A scope as it was when a scan was launched, named by the hash of its text.
CREATE TABLE frozen_scope (
  sha256 TEXT PRIMARY KEY,               -- hex, over the text that docs/scans/scans.md gives
  targets TEXT NOT NULL,                 -- canonical ranges
  excluded TEXT NOT NULL DEFAULT '',     -- canonical ranges that the site's exclusions took out of them
  ports TEXT NOT NULL                    -- canonical ports
) STRICT;

CREATE TABLE scan (
  id TEXT PRIMARY KEY,
  template TEXT NOT NULL,                -- no reference: a template may be deleted, its scans stay
  template_name TEXT NOT NULL COLLATE NOCASE,
  frozen_scope TEXT NOT NULL REFERENCES frozen_scope (sha256),
  preset TEXT NOT NULL CHECK (preset IN ('gentle', 'normal', 'fast')),
  rate INTEGER NOT NULL,                 -- probes per second
  host_rate INTEGER NOT NULL,
  timeout_ms INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  method TEXT NOT NULL DEFAULT 'connect' CHECK (method IN ('connect', 'syn')),
  hints INTEGER NOT NULL DEFAULT 0,      -- what open ports say first is noted
  own INTEGER NOT NULL DEFAULT 0,        -- the scanners' own addresses and the appliance's are probed too
  seed TEXT NOT NULL,                    -- 32 hex digits; the key of every random order
  hosts INTEGER NOT NULL,                -- in scope, once
  probes INTEGER NOT NULL,               -- hosts x ports x vantages
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'paused', 'cancelling', 'completed', 'partial', 'cancelled', 'failed')),
  detail TEXT,                           -- why it did not complete
  excluded_since TEXT NOT NULL DEFAULT '', -- canonical ranges of its targets, excluded when it ended
  by_id TEXT NOT NULL,
  by_name TEXT NOT NULL,
  request_key TEXT,                      -- Idempotency-Key of the launch
  created_at INTEGER NOT NULL,
  started_at INTEGER,                    -- its first job was signed
  ended_at INTEGER,
  UNIQUE (by_id, request_key)
) STRICT;
CREATE INDEX scan_created ON scan (created_at, id);
CREATE INDEX scan_template ON scan (template, created_at);
CREATE INDEX scan_open ON scan (state) WHERE ended_at IS NULL;

-- Who may do its batches, and from where, as the template said at the launch.
CREATE TABLE scan_scanner (
  scan TEXT NOT NULL REFERENCES scan (id),
  scanner TEXT NOT NULL,
  vantage TEXT NOT NULL,
  vantage_name TEXT NOT NULL,
  PRIMARY KEY (scan, scanner)
) STRICT, WITHOUT ROWID;

-- A batch is a run of hosts of the scope, counted in ascending order, as seen from one vantage.
CREATE TABLE batch (
  scan TEXT NOT NULL REFERENCES scan (id),
  number INTEGER NOT NULL,
  vantage TEXT NOT NULL,
  first_host INTEGER NOT NULL,
  hosts INTEGER NOT NULL,
  probes INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'given-up', 'cancelled')),
  epoch INTEGER NOT NULL DEFAULT 0,      -- jobs signed for it so far
  scanner TEXT,                          -- who has or had the last of them
  covered INTEGER NOT NULL DEFAULT 0,    -- probes that have a result
  open INTEGER NOT NULL DEFAULT 0,
  detail TEXT,
  PRIMARY KEY (scan, number)
) STRICT, WITHOUT ROWID;
-- What the dispatcher asks ten times a second, whatever was scanned before and however large a scan is.
CREATE INDEX batch_running ON batch (scan) WHERE state = 'running';
CREATE INDEX batch_waiting ON batch (scan, vantage, number) WHERE state = 'waiting';
CREATE INDEX batch_tried ON batch (scan) WHERE state = 'waiting' AND epoch > 0;
