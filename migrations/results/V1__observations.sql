-- The results store: an index over the frames in evidence/, made anew from them by `portolan results rebuild`.
-- Addresses are two UBIGINTs (high, low) of the IPv6 form, IPv4 as ::ffff:a.b.c.d. Times are µs UTC.
-- Reasons are the numbers of results/code.rs; a reason divided by ten is its state.

-- One scan as seen from one vantage. Within a sweep a host is counted once.
CREATE TABLE sweep (
  sweep   INTEGER PRIMARY KEY,
  scan    VARCHAR NOT NULL,
  vantage VARCHAR NOT NULL,
  UNIQUE (scan, vantage)
);

CREATE TABLE job (
  job     INTEGER PRIMARY KEY,
  hash    VARCHAR NOT NULL UNIQUE,     -- hex SHA-256 of the job's frame
  sweep   INTEGER NOT NULL,
  scanner VARCHAR NOT NULL,
  batch   UINTEGER NOT NULL,
  epoch   UINTEGER NOT NULL,
  ports   VARCHAR NOT NULL             -- 22,80-90: what a span's base state holds for
);

-- One part of a block of a job: what counts a frame once. `part` ascends in the order of counting.
CREATE TABLE part (
  part    INTEGER PRIMARY KEY,
  job     INTEGER NOT NULL,
  block   UBIGINT NOT NULL,
  number  UINTEGER NOT NULL,
  final   BOOLEAN NOT NULL,
  frame   VARCHAR NOT NULL,            -- hex SHA-256 of the results frame
  started BIGINT NOT NULL,             -- by the appliance's clock
  ended   BIGINT NOT NULL,
  sent    UBIGINT NOT NULL,            -- connection attempts
  hosts   UBIGINT NOT NULL,            -- counted of this frame: those the sweep did not have yet
  replaced UBIGINT NOT NULL,           -- counted as well: those the sweep had with holes, void now
  sample_probed   UBIGINT NOT NULL,    -- pairs of the block that were probed a second time
  sample_answered UBIGINT NOT NULL,    -- of those, how many answered the second time
  sample_missed   UBIGINT NOT NULL,    -- of those that answered, how many had not answered the first time
  UNIQUE (job, block, number)
);

-- Probes of a part's counted hosts, by reason; and how many of these hosts have a port for that reason. What it replaced
-- is taken away, so that the sums over a sweep's parts are those of its hosts.
CREATE TABLE tally (
  part   INTEGER NOT NULL,
  reason UTINYINT NOT NULL,
  probes BIGINT NOT NULL,
  hosts  BIGINT NOT NULL
);

-- Hosts first..last, one address after the other: every port of the job that has no row in `run` or `open_port` is
-- in the state `base`. Every counted host is in exactly one span; a host with exceptions has a span of its own.
CREATE TABLE span (
  sweep INTEGER NOT NULL,
  part  INTEGER NOT NULL,
  high  UBIGINT NOT NULL,
  first UBIGINT NOT NULL,
  last  UBIGINT NOT NULL,
  base  UTINYINT NOT NULL,
  rest  USMALLINT NOT NULL,            -- ports of each host that are in the base state
  holed BOOLEAN NOT NULL               -- some port's probe was over before its turn came: whole word replaces this
);

-- Ports first..last of one host that are not in its base state, and not open.
CREATE TABLE run (
  sweep  INTEGER NOT NULL,
  high   UBIGINT NOT NULL,
  low    UBIGINT NOT NULL,
  first  USMALLINT NOT NULL,
  last   USMALLINT NOT NULL,
  reason UTINYINT NOT NULL
);

CREATE TABLE open_port (
  sweep INTEGER NOT NULL,
  part  INTEGER NOT NULL,
  high  UBIGINT NOT NULL,
  low   UBIGINT NOT NULL,
  port  USMALLINT NOT NULL,
  rtt   UINTEGER NOT NULL              -- µs
);

-- What an open port said of itself, escaped as its frame has it. Nothing of it is verified. One of says and sha256.
CREATE TABLE hint (
  sweep   INTEGER NOT NULL,
  part    INTEGER NOT NULL,
  high    UBIGINT NOT NULL,
  low     UBIGINT NOT NULL,
  port    USMALLINT NOT NULL,
  says    VARCHAR,                     -- what it said unasked
  sha256  VARCHAR,                     -- hex, of the TLS leaf certificate it showed
  expires BIGINT,
  subject VARCHAR,
  names   VARCHAR NOT NULL             -- a line each
);
