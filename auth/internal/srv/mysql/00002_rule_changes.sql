-- +goose Up
ALTER TABLE feed ADD COLUMN mark VARCHAR(32) NOT NULL DEFAULT '';
ALTER TABLE feed ADD COLUMN forgotten BIGINT NOT NULL DEFAULT 0;
UPDATE feed SET forgotten = rules;

CREATE INDEX rules_revision ON rules (revision);

CREATE TABLE rule_changes (
	revision   BIGINT NOT NULL,
	id         VARCHAR(128) NOT NULL,
	was        MEDIUMTEXT NOT NULL,
	mark       VARCHAR(32) NOT NULL,
	changed_at BIGINT NOT NULL,
	PRIMARY KEY (revision, id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
