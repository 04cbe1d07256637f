-- +goose Up
CREATE TABLE decisions (
	instance TEXT NOT NULL,
	reporter TEXT NOT NULL,
	body     BLOB NOT NULL,
	updated  INTEGER NOT NULL,
	PRIMARY KEY (instance, reporter)
);
