-- What scans cover: subnets, port lists, and the templates that join them with scanners and a timing.

-- Addresses as 32 hexadecimal digits, IPv4 at ::ffff:0:0/96: text of one width, so that it sorts as the number does.
CREATE TABLE subnet (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  cidr TEXT NOT NULL,                    -- canonical
  family TEXT NOT NULL CHECK (family IN ('ipv4', 'ipv6')),
  first TEXT NOT NULL CHECK (length(first) = 32),
  last TEXT NOT NULL CHECK (length(last) = 32),
  host_bits INTEGER NOT NULL CHECK (host_bits BETWEEN 0 AND 128),
  note TEXT NOT NULL DEFAULT '',
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX subnet_place ON subnet (family, first, last);

CREATE TABLE port_list (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  ports TEXT NOT NULL,                   -- canonical: 22,80-90,443
  count INTEGER NOT NULL CHECK (count BETWEEN 1 AND 65535),
  note TEXT NOT NULL DEFAULT '',
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- The four numbers of the timing are NULL where the preset decides.
CREATE TABLE template (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  exclusions TEXT NOT NULL DEFAULT '',   -- canonical ranges
  preset TEXT NOT NULL CHECK (preset IN ('gentle', 'normal', 'fast')),
  rate INTEGER,
  host_rate INTEGER,
  timeout_ms INTEGER,
  retries INTEGER,
  method TEXT NOT NULL DEFAULT 'connect' CHECK (method IN ('connect', 'syn')),
  hints INTEGER NOT NULL DEFAULT 0,
  own INTEGER NOT NULL DEFAULT 0,        -- the scanners' own addresses and the appliance's too
  note TEXT NOT NULL DEFAULT '',
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE template_subnet (
  template TEXT NOT NULL REFERENCES template (id) ON DELETE CASCADE,
  subnet TEXT NOT NULL REFERENCES subnet (id),
  PRIMARY KEY (template, subnet)
) STRICT, WITHOUT ROWID;
CREATE INDEX template_subnet_subnet ON template_subnet (subnet);

CREATE TABLE template_port_list (
  template TEXT NOT NULL REFERENCES template (id) ON DELETE CASCADE,
  port_list TEXT NOT NULL REFERENCES port_list (id),
  PRIMARY KEY (template, port_list)
) STRICT, WITHOUT ROWID;
CREATE INDEX template_port_list_port_list ON template_port_list (port_list);

CREATE TABLE template_scanner (
  template TEXT NOT NULL REFERENCES template (id) ON DELETE CASCADE,
  scanner TEXT NOT NULL REFERENCES scanner (id),
  PRIMARY KEY (template, scanner)
) STRICT, WITHOUT ROWID;
CREATE INDEX template_scanner_scanner ON template_scanner (scanner);

-- What no scan of this site touches, whatever a template says.
CREATE TABLE exclusion (
  id TEXT PRIMARY KEY,
  addresses TEXT NOT NULL UNIQUE,        -- canonical ranges
  first TEXT NOT NULL CHECK (length(first) = 32), -- the lowest of them
  reason TEXT NOT NULL,
  expires_at INTEGER NOT NULL,           -- from then on it holds no more; the last moment there is: never
  by_name TEXT NOT NULL,                 -- who made it
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Its runs of addresses, to find it by an address.
CREATE TABLE exclusion_run (
  exclusion TEXT NOT NULL REFERENCES exclusion (id) ON DELETE CASCADE,
  first TEXT NOT NULL CHECK (length(first) = 32),
  last TEXT NOT NULL CHECK (length(last) = 32),
  PRIMARY KEY (exclusion, first)
) STRICT, WITHOUT ROWID;
