-- Adds rows of one trace ($side) from the Arrow table `incoming`. A payload of 64 bytes or more is represented by the 64
-- characters of its SHA-256, so that what is kept of a row is small and payloads still compare as bytes.
-- `cause` is the row that a delivery or a drop goes back to.
INSERT INTO events
SELECT
    $side AS side,
    seq,
    step,
    time_us,
    CAST(kind AS VARCHAR) AS kind,
    CAST(node AS VARCHAR) AS node,
    CAST(src AS VARCHAR) AS src,
    CAST(dst AS VARCHAR) AS dst,
    type,
    late_us,
    CASE WHEN octet_length(payload) < 64 THEN payload ELSE CAST(sha256(payload) AS BLOB) END AS payload,
    object,
    cause[1] AS cause
FROM incoming
