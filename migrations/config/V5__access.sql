-- Who may do what: roles, tokens, second factors, providers. Users and sessions themselves stand in V1.

-- An account is locked for one source, not for everyone: else anybody could lock anybody out.
CREATE TABLE lockout (
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  source TEXT NOT NULL,                  -- network the wrong passwords came from: /32 or /64
  wrong INTEGER NOT NULL,                -- in a row; from the fifth on it is locked
  until INTEGER NOT NULL,                -- when they are forgotten, and the lock with them
  PRIMARY KEY (user, source)
) STRICT, WITHOUT ROWID;

-- A link that sets a new password, once.
CREATE TABLE reset_link (
  hash BLOB PRIMARY KEY,                 -- SHA-256 of what is in the link
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The immutable roles have rows here, so that they can be referred to; their scopes are part of the program.
CREATE TABLE role (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  description TEXT NOT NULL DEFAULT '',
  builtin INTEGER NOT NULL DEFAULT 0 CHECK (builtin IN (0, 1)),
  second_factor INTEGER NOT NULL DEFAULT 0 CHECK (second_factor IN (0, 1)), -- whoever holds it needs one
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

INSERT INTO role (id, name, description, builtin, created_at, updated_at) VALUES
  ('00000000-0000-7000-8000-000000000001', 'admin', 'Everything', 1, 0, 0),
  ('00000000-0000-7000-8000-000000000002', 'operator', 'Runs scans and sees scanners', 1, 0, 0),
  ('00000000-0000-7000-8000-000000000003', 'viewer', 'Reads what was found', 1, 0, 0),
  ('00000000-0000-7000-8000-000000000004', 'compliance', 'Reads what was found and what proves it, not the raw audit', 1, 0, 0);

CREATE TABLE role_scope (
  role TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
  scope TEXT NOT NULL,
  PRIMARY KEY (role, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_role (
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  role TEXT NOT NULL REFERENCES role (id),
  origin TEXT NOT NULL DEFAULT 'local' CHECK (origin IN ('local', 'oidc')), -- what a provider gave it takes again
  provider TEXT REFERENCES oidc_provider (id), -- which one
  PRIMARY KEY (user, role, origin),
  CHECK ((origin = 'oidc') = (provider IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX user_role_role ON user_role (role);
CREATE INDEX user_role_provider ON user_role (provider) WHERE provider IS NOT NULL;

-- Roles as they are listed: with what each gives, and how many accounts hold it.
CREATE VIEW role_listed AS
  SELECT role.*,
    (SELECT json_group_array(scope) FROM role_scope WHERE role_scope.role = role.id) AS scopes,
    (SELECT count(DISTINCT user) FROM user_role WHERE user_role.role = role.id) AS holders
  FROM role;

-- API tokens. The token itself is shown once and kept nowhere.
CREATE TABLE token (
  id TEXT PRIMARY KEY,
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  name TEXT NOT NULL COLLATE NOCASE,
  hash BLOB NOT NULL UNIQUE,             -- SHA-256
  hint TEXT NOT NULL,                    -- its first characters, to tell one from another
  scopes TEXT NOT NULL,                  -- JSON list; what its user no longer holds does not count
  sources TEXT NOT NULL,                 -- canonical ranges it may come from; empty: any
  made_by TEXT NOT NULL,                 -- name of who made it: for a service account, someone else
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,           -- the last moment there is: never
  expiry_told INTEGER NOT NULL DEFAULT 0 CHECK (expiry_told IN (0, 1)), -- that it ended by itself is in the audit
  revoked_at INTEGER
) STRICT;
CREATE INDEX token_user ON token (user);
-- The name of a token that was revoked may be given again.
CREATE UNIQUE INDEX token_name ON token (user, name) WHERE revoked_at IS NULL;

-- Where a token was used from, and when last: traces of use, written without an audit entry of their own.
CREATE TABLE token_use (
  token TEXT NOT NULL REFERENCES token (id) ON DELETE CASCADE,
  source TEXT NOT NULL,                  -- network: an IPv4 address, or a /64 of IPv6
  first_used INTEGER NOT NULL,
  last_used INTEGER NOT NULL,
  PRIMARY KEY (token, source)
) STRICT, WITHOUT ROWID;

-- Tokens as they are listed.
CREATE VIEW token_listed AS
  SELECT token.*, user.name AS user_name, user.kind AS user_kind,
    coalesce((SELECT max(last_used) FROM token_use WHERE token_use.token = token.id), 0) AS last_used
  FROM token JOIN user ON user.id = token.user;

-- Signed statements for other systems of the site: kept so that they can be revoked.
CREATE TABLE statement (
  id TEXT PRIMARY KEY,                   -- jti
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  token TEXT REFERENCES token (id) ON DELETE CASCADE, -- the API token that asked for it: it holds no longer than that
  audience TEXT NOT NULL,
  began_at INTEGER NOT NULL,             -- when the first of its line was issued: a line of renewals has an end
  issued_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;
CREATE INDEX statement_expires ON statement (expires_at);
CREATE INDEX statement_user ON statement (user);
CREATE INDEX statement_token ON statement (token) WHERE token IS NOT NULL;

-- Statements as they are listed.
CREATE VIEW statement_listed AS
  SELECT statement.*, user.name AS user_name FROM statement JOIN user ON user.id = statement.user;

CREATE TABLE totp (
  user TEXT PRIMARY KEY REFERENCES user (id) ON DELETE CASCADE,
  sealed BLOB NOT NULL,
  begun_at INTEGER NOT NULL DEFAULT 0,   -- when the secret was made: one that waits too long counts no more
  confirmed_at INTEGER,                  -- empty: it was shown, and no code has come back yet
  last_step INTEGER NOT NULL DEFAULT 0,  -- a step at or before this one was used
  burnt TEXT NOT NULL DEFAULT '[]',      -- JSON list of steps to come whose codes were typed already: never taken
  away INTEGER,                          -- steps the device was ahead of us when a code of it last came
  away_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_code (
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  hash BLOB NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (user, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE security_key (
  id TEXT PRIMARY KEY,
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  credential_id BLOB NOT NULL UNIQUE,
  credential TEXT NOT NULL,              -- JSON: public key, counter
  alone INTEGER NOT NULL DEFAULT 0 CHECK (alone IN (0, 1)), -- it has signed in by itself, so it can
  created_at INTEGER NOT NULL,
  last_used INTEGER
) STRICT;
CREATE INDEX security_key_user ON security_key (user);

CREATE TABLE oidc_provider (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  settings TEXT NOT NULL,                -- JSON, without the secret
  sealed BLOB,                           -- the client's secret
  enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE oidc_link (
  provider TEXT NOT NULL REFERENCES oidc_provider (id) ON DELETE CASCADE,
  subject TEXT NOT NULL,
  user TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (provider, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX oidc_link_user ON oidc_link (user);

-- What came back from a provider, so that each comes back once, also after a restart. Traces of use.
CREATE TABLE oidc_back (
  state BLOB PRIMARY KEY,                -- SHA-256 of the state
  until INTEGER NOT NULL                 -- when it would no longer be taken anyway
) STRICT, WITHOUT ROWID;

-- The ways by which an account gets in: what counts as one is said here alone.
CREATE VIEW way_in AS
  SELECT id AS user, 'password' AS way, NULL AS provider FROM user
    WHERE password_hash IS NOT NULL
      AND CASE coalesce((SELECT value ->> 'local' FROM setting WHERE name = 'local-sign-in'), 'on')
            WHEN 'on' THEN 1 WHEN 'owner-only' THEN is_owner ELSE 0 END
  UNION ALL
  -- No provider speaks for the owner.
  SELECT l.user, 'oidc', p.id FROM oidc_link l
    JOIN oidc_provider p ON p.id = l.provider AND p.enabled JOIN user u ON u.id = l.user AND NOT u.is_owner
  UNION ALL
  -- A key that has signed in alone: others may not be able to.
  SELECT user, 'security-key', NULL FROM security_key WHERE alone;

-- Sessions that a provider began.
CREATE TABLE session_origin (
  session BLOB PRIMARY KEY REFERENCES session (id_hash) ON UPDATE CASCADE ON DELETE CASCADE,
  provider TEXT NOT NULL REFERENCES oidc_provider (id) ON DELETE CASCADE,
  id_token BLOB                          -- what the provider signed, sealed: it asks for it at the sign-out
) STRICT, WITHOUT ROWID;
CREATE INDEX session_origin_provider ON session_origin (provider);
