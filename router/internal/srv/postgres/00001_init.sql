-- +goose Up
CREATE TABLE sets (
	kind     TEXT COLLATE "C" NOT NULL, -- rule or label
	id       TEXT COLLATE "C" NOT NULL,
	service  TEXT COLLATE "C" NOT NULL,
	version  TEXT COLLATE "C" NOT NULL,
	weight   BIGINT NOT NULL,
	priority BIGINT NOT NULL,
	label    TEXT COLLATE "C" NOT NULL, -- its key
	value    TEXT COLLATE "C" NOT NULL,
	fallback INT NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE INDEX sets_service ON sets (service);

CREATE TABLE limits (
	service     TEXT COLLATE "C" PRIMARY KEY,
	rate        DOUBLE PRECISION NOT NULL,
	concurrency BIGINT NOT NULL,
	retry_ratio DOUBLE PRECISION
);

-- What every router-srv polls to learn of the writes of others. config-srv, which
-- may use the same database, has a table "changes".
CREATE TABLE router_changes (number BIGINT NOT NULL);
INSERT INTO router_changes (number) VALUES (0);
