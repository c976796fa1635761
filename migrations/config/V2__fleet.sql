-- A vantage is a place in the network that scans look from. Life-lines and policies hang on it, so it outlives
-- the scanners that stand in it.
CREATE TABLE vantage (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE,
  note TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Keys, hashes and times of enrolment are absent until a scanner has used its token.
CREATE TABLE scanner (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL COLLATE NOCASE,
  note TEXT NOT NULL DEFAULT '',
  vantage TEXT NOT NULL REFERENCES vantage (id),
  binding TEXT NOT NULL DEFAULT '',      -- ranges its requests may come from; empty: any
  public_key TEXT,                       -- base64, Ed25519: signs requests and results
  certificate_sha256 TEXT,               -- hex, of the client certificate's DER
  api_key_sha256 TEXT,                   -- hex
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  enrolled_at INTEGER,                   -- a token was used
  confirmed_at INTEGER,                  -- its first signed request after that: the token cannot be repeated any more
  revoked_at INTEGER,
  version INTEGER NOT NULL DEFAULT 1,
  CHECK ((enrolled_at IS NULL) = (public_key IS NULL)),
  CHECK ((enrolled_at IS NULL) = (certificate_sha256 IS NULL)),
  CHECK ((enrolled_at IS NULL) = (api_key_sha256 IS NULL)),
  CHECK (confirmed_at IS NULL OR enrolled_at IS NOT NULL)
) STRICT;
-- A revoked scanner keeps its row for ever, but not its name: its replacement may have it.
CREATE UNIQUE INDEX scanner_name ON scanner (name) WHERE revoked_at IS NULL;
CREATE INDEX scanner_vantage ON scanner (vantage);
CREATE INDEX scanner_certificate ON scanner (certificate_sha256);

CREATE TABLE enrolment_token (
  sha256 TEXT PRIMARY KEY,               -- hex; the token itself is shown once and kept nowhere
  scanner TEXT NOT NULL REFERENCES scanner (id) ON DELETE CASCADE,
  made_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  public_key TEXT,                       -- the key that used it; only that key may repeat an unanswered request
  CHECK ((used_at IS NULL) = (public_key IS NULL))
) STRICT;
CREATE INDEX enrolment_token_scanner ON enrolment_token (scanner);
