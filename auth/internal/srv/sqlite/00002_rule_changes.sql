-- +goose Up
ALTER TABLE feed ADD COLUMN mark TEXT NOT NULL DEFAULT '';
ALTER TABLE feed ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
UPDATE feed SET forgotten = rules;

CREATE INDEX rules_revision ON rules (revision);

CREATE TABLE rule_changes (
	revision   INTEGER NOT NULL,
	id         TEXT NOT NULL,
	was        TEXT NOT NULL,
	mark       TEXT NOT NULL,
	changed_at INTEGER NOT NULL,
	PRIMARY KEY (revision, id)
);
