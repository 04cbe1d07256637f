-- +goose Up
CREATE TABLE revision (
	id  INTEGER PRIMARY KEY CHECK (id = 1),
	now INTEGER NOT NULL
);
INSERT INTO revision (id, now) VALUES (1, 0);

CREATE TABLE configs (
	id        TEXT PRIMARY KEY,
	revision  INTEGER NOT NULL,
	there     INTEGER NOT NULL,
	data      TEXT NOT NULL,
	author    TEXT NOT NULL,
	comment   TEXT NOT NULL,
	updated   INTEGER NOT NULL,
	candidate TEXT NOT NULL,
	rollout   TEXT NOT NULL
);
CREATE INDEX configs_revision ON configs (revision);

CREATE TABLE changes (
	revision INTEGER PRIMARY KEY,
	id       TEXT NOT NULL,
	path     TEXT NOT NULL,
	action   TEXT NOT NULL,
	author   TEXT NOT NULL,
	comment  TEXT NOT NULL,
	at       INTEGER NOT NULL,
	settled  INTEGER NOT NULL,
	there    INTEGER NOT NULL,
	data     TEXT NOT NULL,
	rollout  TEXT NOT NULL
);
CREATE INDEX changes_id ON changes (id, revision);
CREATE INDEX changes_at ON changes (at);

CREATE TABLE namespaces (
	name   TEXT PRIMARY KEY,
	parent TEXT NOT NULL
);
