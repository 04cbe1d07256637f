-- +goose Up
-- What every router-srv polls to learn of the writes of others. Earlier releases
-- had it in a table "changes" of the first migration, a name that config-srv
-- uses too.
CREATE TABLE router_changes (number BIGINT NOT NULL);
INSERT INTO router_changes (number) VALUES (0);

-- +goose Down
DROP TABLE router_changes;
