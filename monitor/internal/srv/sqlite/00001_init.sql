-- +goose Up
CREATE TABLE transitions (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	at_ms   INTEGER NOT NULL,
	service TEXT NOT NULL,
	node    TEXT NOT NULL,
	item    TEXT NOT NULL,
	was     TEXT NOT NULL,
	became  TEXT NOT NULL,
	detail  TEXT NOT NULL
);
CREATE INDEX transitions_at ON transitions (at_ms);
CREATE INDEX transitions_service ON transitions (service, at_ms);

CREATE TABLE nodes (
	node       TEXT PRIMARY KEY,
	service    TEXT NOT NULL,
	version    TEXT NOT NULL,
	address    TEXT NOT NULL,
	port       INTEGER NOT NULL,
	status     TEXT NOT NULL,
	updated_ms INTEGER NOT NULL
);
