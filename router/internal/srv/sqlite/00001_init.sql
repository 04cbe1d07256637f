-- +goose Up
CREATE TABLE sets (
	kind     TEXT NOT NULL, -- rule or label
	id       TEXT NOT NULL,
	service  TEXT NOT NULL,
	version  TEXT NOT NULL,
	weight   INTEGER NOT NULL,
	priority INTEGER NOT NULL,
	label    TEXT NOT NULL, -- its key
	value    TEXT NOT NULL,
	fallback INTEGER NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE INDEX sets_service ON sets (service);

CREATE TABLE limits (
	service     TEXT PRIMARY KEY,
	rate        REAL NOT NULL,
	concurrency INTEGER NOT NULL,
	retry_ratio REAL
);

-- What every router-srv polls to learn of the writes of others. config-srv, which
-- may use the same database, has a table "changes".
CREATE TABLE router_changes (number INTEGER NOT NULL);
INSERT INTO router_changes (number) VALUES (0);
