-- config.db holds what must last: configuration, people, scans, the audit. Times are µs UTC.

-- The audit chain. `entry` is the canonical JSON that the hash covers; the other columns repeat parts of it
-- so that pages can filter, and `portolan audit verify` compares them with it. From the first release on this table, the
-- next one and their triggers stay as they are: any version must read any chain. A test holds them to it.
CREATE TABLE audit_entry (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  class TEXT NOT NULL CHECK (class IN ('change', 'sign-in', 'access')),
  actor_kind TEXT NOT NULL,
  actor_id TEXT NOT NULL,
  actor_name TEXT NOT NULL,
  method TEXT NOT NULL,                  -- how the actor was known: a session, a token, …
  agent TEXT NOT NULL,                   -- the program they used, as it called itself
  source TEXT NOT NULL,                  -- address the request came from; empty: the appliance itself
  action TEXT NOT NULL,
  resource TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
  entry TEXT NOT NULL,
  prev_hash BLOB NOT NULL CHECK (length(prev_hash) = 32),
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_entry_at ON audit_entry (at);
CREATE INDEX audit_entry_class ON audit_entry (class, seq);
CREATE INDEX audit_entry_actor ON audit_entry (actor_id, seq);
CREATE INDEX audit_entry_name ON audit_entry (actor_name COLLATE NOCASE, seq);
CREATE INDEX audit_entry_source ON audit_entry (source, seq);
CREATE INDEX audit_entry_action ON audit_entry (action, seq, at, outcome);
CREATE INDEX audit_entry_resource ON audit_entry (resource, resource_id, seq);

CREATE TRIGGER audit_entry_no_update BEFORE UPDATE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;

CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END;

-- Also stops INSERT OR REPLACE, which would otherwise be an UPDATE in disguise.
CREATE TRIGGER audit_entry_in_sequence BEFORE INSERT ON audit_entry
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit_entry)
  OR NEW.prev_hash IS NOT coalesce((SELECT hash FROM audit_entry ORDER BY seq DESC LIMIT 1), zeroblob(32))
BEGIN SELECT RAISE(ABORT, 'an audit entry follows the last one'); END;

-- Heads of the chain that the appliance signed. They prove something once a copy is kept elsewhere; here they let a
-- check find a chain that was written anew by someone without the key.
CREATE TABLE audit_checkpoint (
  seq INTEGER PRIMARY KEY,               -- the entry that was the last
  at INTEGER NOT NULL,
  why TEXT NOT NULL,
  text TEXT NOT NULL                     -- as signed
) STRICT;

CREATE TRIGGER audit_checkpoint_no_update BEFORE UPDATE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints are never changed'); END;

CREATE TRIGGER audit_checkpoint_no_delete BEFORE DELETE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END;

-- Exactly one of value and sealed is set: `value` is JSON, `sealed` is closed by the master key.
CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value TEXT,
  sealed BLOB,
  version INTEGER NOT NULL DEFAULT 1,
  CHECK ((value IS NULL) <> (sealed IS NULL))
) STRICT;

CREATE TABLE user (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  display TEXT NOT NULL DEFAULT '',
  email TEXT NOT NULL DEFAULT '',
  kind TEXT NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service')),
  password_hash TEXT,                    -- PHC string, Argon2id; empty: no sign-in by password
  must_change INTEGER NOT NULL DEFAULT 0 CHECK (must_change IN (0, 1)), -- the password, at the next sign-in
  is_owner INTEGER NOT NULL DEFAULT 0 CHECK (is_owner IN (0, 1)),
  status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL DEFAULT 0,
  last_seen INTEGER,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;
-- There is one owner, whatever comes at once.
CREATE UNIQUE INDEX one_owner ON user (is_owner) WHERE is_owner = 1;

CREATE TABLE session (
  id_hash BLOB PRIMARY KEY,              -- SHA-256 of the session's secret; the secret is only in the cookie
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  -- 'full', or what is still missing: 'second-factor' or 'new-password'
  stage TEXT NOT NULL DEFAULT 'full' CHECK (stage IN ('full', 'second-factor', 'new-password')),
  method TEXT NOT NULL DEFAULT 'password', -- how they signed in: 'password', 'password+totp', 'security-key', 'oidc'
  -- a second factor was given in it, or a provider vouched for one: a role that asks for one later is content
  strong INTEGER NOT NULL DEFAULT 0 CHECK (strong IN (0, 1)),
  proved_at INTEGER NOT NULL DEFAULT 0,  -- when they last proved who they are
  created_at INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  source TEXT NOT NULL,
  agent TEXT NOT NULL
) STRICT;
CREATE INDEX session_user ON session (user);
CREATE INDEX session_expires ON session (expires_at);

-- Keys that the appliance makes for itself (its CA, …), closed by the master key; the name is associated data.
CREATE TABLE sealed_key (
  name TEXT PRIMARY KEY,
  sealed BLOB NOT NULL,
  made_at INTEGER NOT NULL
) STRICT;
