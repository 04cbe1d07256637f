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

-- +goose Down
DROP TABLE limits;
DROP TABLE sets;
