-- Where audit entries are sent as they are written, and how far each receiver has come.
CREATE TABLE receiver (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  kind TEXT NOT NULL CHECK (kind IN ('syslog-udp', 'syslog-tcp', 'syslog-tls', 'webhook')),
  address TEXT NOT NULL,                 -- host:port, or the webhook's URL
  shown TEXT NOT NULL,                   -- the same without what may be a secret in it
  body TEXT NOT NULL CHECK (body IN ('json', 'cef')),
  ca TEXT NOT NULL DEFAULT '',           -- PEM: who may have signed the receiver's certificate
  sealed BLOB,                           -- the secret that signs what a webhook gets
  enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
  version INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- A trace of use, not configuration: written without an audit entry, which would itself have to be sent.
CREATE TABLE delivery (
  receiver TEXT PRIMARY KEY REFERENCES receiver (id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,                  -- the last entry that the receiver has
  at INTEGER NOT NULL,                   -- when it got there
  tries INTEGER NOT NULL DEFAULT 0,      -- in vain, since then
  failing_since INTEGER,
  error TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
