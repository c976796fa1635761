-- The words of the audit, for search: an index beside `audit_entry`, which stays the record. It holds no copy of the
-- text, a check of the chain does not look at it, and it can be made anew at any time: 'delete-all', then the last line.

-- What an entry says, without the names of its fields and its time: every entry has those.
CREATE VIEW audit_words AS
SELECT seq, (
  SELECT group_concat(atom, ' ') FROM json_tree(audit_entry.entry)
  WHERE atom IS NOT NULL AND fullkey <> '$.at' AND type NOT IN ('true', 'false')
) AS words FROM audit_entry;

CREATE VIRTUAL TABLE audit_text USING fts5 (
  words, content = '', columnsize = 0, tokenize = "unicode61 remove_diacritics 2"
);

CREATE TRIGGER audit_text_follows AFTER INSERT ON audit_entry
BEGIN INSERT INTO audit_text (rowid, words) SELECT seq, words FROM audit_words WHERE seq = NEW.seq; END;

INSERT INTO audit_text (rowid, words) SELECT seq, words FROM audit_words;
