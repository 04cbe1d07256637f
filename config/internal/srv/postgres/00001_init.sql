-- +goose Up
CREATE TABLE revision (
	id  INT PRIMARY KEY,
	now BIGINT NOT NULL
);
INSERT INTO revision (id, now) VALUES (1, 0);

CREATE TABLE configs (
	id        TEXT COLLATE "C" PRIMARY KEY,
	revision  BIGINT NOT NULL,
	there     BOOLEAN NOT NULL,
	data      TEXT COLLATE "C" NOT NULL,
	author    TEXT COLLATE "C" NOT NULL,
	comment   TEXT COLLATE "C" NOT NULL,
	updated   BIGINT NOT NULL,
	candidate TEXT COLLATE "C" NOT NULL,
	rollout   TEXT COLLATE "C" NOT NULL
);
CREATE INDEX configs_revision ON configs (revision);

CREATE TABLE changes (
	revision BIGINT PRIMARY KEY,
	id       TEXT COLLATE "C" NOT NULL,
	path     TEXT COLLATE "C" NOT NULL,
	action   TEXT COLLATE "C" NOT NULL,
	author   TEXT COLLATE "C" NOT NULL,
	comment  TEXT COLLATE "C" NOT NULL,
	at       BIGINT NOT NULL,
	settled  BOOLEAN NOT NULL,
	there    BOOLEAN NOT NULL,
	data     TEXT COLLATE "C" NOT NULL,
	rollout  TEXT COLLATE "C" NOT NULL
);
CREATE INDEX changes_id ON changes (id, revision);
CREATE INDEX changes_at ON changes (at);

CREATE TABLE namespaces (
	name   TEXT COLLATE "C" PRIMARY KEY,
	parent TEXT COLLATE "C" NOT NULL
);
