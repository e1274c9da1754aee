-- The rows of both traces (side A is expected, B actual) after the place up to which they are known to be equal.
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
-- What is left of them when equal rows are taken away, and the pairs that were made of what was left.
CREATE TABLE rest AS FROM events;
CREATE TABLE differences (node VARCHAR, row_kind VARCHAR, type VARCHAR, kind VARCHAR, expected_seq BIGINT, actual_seq BIGINT);
