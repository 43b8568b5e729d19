-- +goose Up

-- Search is answered from memory; what is in it comes from groups and availability by their change feeds.
DROP TABLE directory;
