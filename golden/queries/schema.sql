-- The rows of both traces (side A is expected, B actual) that may differ. Equal rows at the same place are not here.
CREATE TABLE events (
    side VARCHAR,
    seq BIGINT,
    step BIGINT,
    time_us BIGINT,
    kind VARCHAR,
    node VARCHAR,
    src VARCHAR,
    dst VARCHAR,
    type VARCHAR,
    late_us BIGINT,
    payload BLOB,
    object VARCHAR,
    cause BIGINT
);
-- All steps: where each begins, and whether every output of it is there (it ended, or it was the network that failed).
CREATE TABLE steps (side VARCHAR, step BIGINT, first_seq BIGINT, is_whole BOOLEAN);
-- The rows of `events` that have no equal on the other side.
CREATE TABLE rest AS FROM events;
-- What was found about pairs of rows: moved to another place in their step (order), or made of what is in `rest`.
CREATE TABLE differences (
    node VARCHAR, row_kind VARCHAR, type VARCHAR, kind VARCHAR, expected_seq BIGINT, actual_seq BIGINT
);
CREATE VIEW moved AS
SELECT events.*
FROM events
SEMI JOIN (SELECT 'A' AS side, expected_seq AS seq FROM differences WHERE kind = 'order') USING (side, seq);
-- Every row by which a node's inputs or outputs are not the same.
CREATE VIEW changed AS FROM rest UNION ALL FROM moved
