-- jobs.db is transient: losing it loses no record. What ingest needs is projected here by the manager.

-- What ingest may know of a scanner; the manager keeps it equal to config.db.
CREATE TABLE scanner (
  id TEXT PRIMARY KEY,
  vantage TEXT NOT NULL,
  api_key_sha256 TEXT NOT NULL,          -- hex
  certificate_sha256 TEXT NOT NULL,      -- hex, of the DER
  public_key TEXT NOT NULL,              -- base64, Ed25519
  binding TEXT NOT NULL DEFAULT '',      -- ranges a request may come from; empty: any
  revoked INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE token (
  sha256 TEXT PRIMARY KEY,               -- hex, of the enrolment token
  scanner TEXT NOT NULL,
  expires_at INTEGER NOT NULL,           -- µs UTC
  used INTEGER NOT NULL DEFAULT 0
) STRICT;

-- An enrolment asked for at ingest, performed by the manager, answered by ingest. The API key itself is only
-- in ingest's memory, for the connection that waits: here is its hash.
CREATE TABLE enrolment (
  id INTEGER PRIMARY KEY,
  token_sha256 TEXT NOT NULL,
  public_key TEXT NOT NULL,
  proof TEXT NOT NULL,                   -- base64 signature, checked by ingest and again by the manager
  api_key_sha256 TEXT NOT NULL,
  version TEXT NOT NULL,
  source TEXT NOT NULL,
  asked_at INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'granted', 'refused')),
  scanner TEXT,
  vantage TEXT,
  certificate TEXT,                      -- base64 DER
  refusal TEXT                           -- a slug
) STRICT;

-- What ingest found at its start of who may be looking into it, on its way to the audit: one row at most.
CREATE TABLE watched (
  one INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
  found TEXT NOT NULL,                   -- JSON: sentences
  at INTEGER NOT NULL                    -- µs UTC
) STRICT;

CREATE TABLE nonce (
  scanner TEXT NOT NULL,
  nonce TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (scanner, nonce)
) STRICT, WITHOUT ROWID;

CREATE TABLE presence (
  scanner TEXT PRIMARY KEY,
  seen_at INTEGER NOT NULL,
  source TEXT NOT NULL,
  version TEXT NOT NULL,
  clock_offset INTEGER NOT NULL          -- µs to add to the scanner's clock
) STRICT;

-- What every scanner leaves alone: one row, once the manager has told it.
CREATE TABLE exclusions (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  sha256 TEXT NOT NULL,                  -- hex, over ranges
  ranges TEXT NOT NULL                   -- canonical
) STRICT;

-- A scanner that waits for work; the dispatcher signs a job for it.
CREATE TABLE want (
  scanner TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT;

CREATE TABLE job (
  hash TEXT PRIMARY KEY,                 -- hex SHA-256 of the signed frame
  scan TEXT NOT NULL,
  batch INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  scanner TEXT NOT NULL,
  vantage TEXT NOT NULL,
  frame TEXT NOT NULL,
  blocks INTEGER NOT NULL,
  probes INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('ready', 'leased', 'ended', 'lost')),
  cancel INTEGER NOT NULL DEFAULT 0,     -- since when its scanner is to stop, in µs; 0: it may go on
  pause INTEGER NOT NULL DEFAULT 0,      -- its scanner is to rest
  made_at INTEGER NOT NULL,
  expires_at INTEGER,                    -- as its frame says: from then on its scanner does no more of it
  renewed_at INTEGER,                    -- last sign of life under this lease
  done INTEGER NOT NULL DEFAULT 0,       -- probes, as the scanner says
  open INTEGER NOT NULL DEFAULT 0,
  rate INTEGER NOT NULL DEFAULT 0,       -- probes per second
  bytes INTEGER NOT NULL DEFAULT 0,      -- of results that were accepted for it
  end_state TEXT CHECK (end_state IN ('done', 'cancelled', 'failed')),
  end_detail TEXT,
  UNIQUE (scan, batch, epoch)
) STRICT;
CREATE INDEX job_by_scanner ON job (scanner, state);
CREATE INDEX job_by_state ON job (state, scanner);

-- Frames that were accepted: one that comes again, as its receipt was lost, takes nothing of its job's budget.
CREATE TABLE accepted (
  job TEXT NOT NULL,
  frame TEXT NOT NULL,                   -- hex SHA-256
  PRIMARY KEY (job, frame)
) STRICT, WITHOUT ROWID;

-- Parts that the loader has committed to the results store: what the dispatcher counts to end a scan.
CREATE TABLE loaded (
  job_hash TEXT NOT NULL,
  block INTEGER NOT NULL,
  part INTEGER NOT NULL,
  last INTEGER NOT NULL,
  covered INTEGER NOT NULL,              -- by how many pairs of host and port with a result it made those of the scan more
  open INTEGER NOT NULL,                 -- and by how many open ones; less than none, where it took the place of others
  at INTEGER NOT NULL,
  PRIMARY KEY (job_hash, block, part)
) STRICT, WITHOUT ROWID;

-- What the results have of a scan from one vantage, told anew with every load: right even after this database was
-- lost, when `loaded` begins again.
CREATE TABLE swept (
  scan TEXT NOT NULL,
  vantage TEXT NOT NULL,
  covered INTEGER NOT NULL,              -- pairs of host and port with a result
  PRIMARY KEY (scan, vantage)
) STRICT, WITHOUT ROWID;

-- Refusals wait here for the manager, which writes them to the audit; a flood is one row with a count.
CREATE TABLE refusal (
  minute INTEGER NOT NULL,               -- µs, cut to the minute
  source TEXT NOT NULL,
  scanner TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT '',
  count INTEGER NOT NULL DEFAULT 1,
  told INTEGER NOT NULL DEFAULT 0,       -- how many of them the audit has
  PRIMARY KEY (minute, source, scanner, reason)
) STRICT, WITHOUT ROWID;
