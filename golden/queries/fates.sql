-- The network: it is given messages (output rows with a destination) and decides their fate (input and drop rows). Fates
-- are aligned by message, the n-th of its source, through the row that caused them.
-- Returns: the first step in which the network was given something else; the first step in which a fate differs; whether
-- one of these fates is of a message that was sent before anything was different; the step it is known to.
WITH sent AS (
    SELECT *, row_number() OVER (PARTITION BY side, src ORDER BY seq) AS number
    FROM events
    WHERE kind = 'output' AND dst <> ''
),
given AS (
    SELECT min(least(a.step, b.step)) AS step
    FROM (FROM sent WHERE side = 'A') AS a
    FULL JOIN (FROM sent WHERE side = 'B') AS b USING (src, number)
    WHERE
        (
            a.step IS DISTINCT FROM b.step
            OR a.time_us IS DISTINCT FROM b.time_us
            OR a.dst IS DISTINCT FROM b.dst
            OR a.type IS DISTINCT FROM b.type
            OR a.payload IS DISTINCT FROM b.payload
            OR a.object IS DISTINCT FROM b.object
        )
        AND least(a.step, b.step) <= $outputs_end
),
fates AS (
    SELECT
        met.*,
        -- A message that was sent before the first row here is known by the number of its row: equal in both traces.
        CASE WHEN sent.seq IS NOT NULL THEN 'sent' WHEN met.cause IS NOT NULL THEN 'before' ELSE 'unknown' END AS origin,
        coalesce(sent.number, met.cause, 0) AS message,
        CASE origin WHEN 'sent' THEN sent.step WHEN 'before' THEN 0 ELSE met.step END AS sent_step,
        row_number() OVER (PARTITION BY met.side, origin, met.src, met.dst, message ORDER BY met.seq) AS number
    FROM events AS met
    LEFT JOIN sent ON sent.side = met.side AND sent.seq = met.cause
    WHERE met.kind = 'input' OR met.kind = 'drop'
),
changed AS (
    SELECT least(a.step, b.step) AS step, least(a.sent_step, b.sent_step) AS sent_step
    FROM (FROM fates WHERE side = 'A') AS a
    FULL JOIN (FROM fates WHERE side = 'B') AS b USING (origin, src, dst, message, number)
    WHERE
        a.step IS DISTINCT FROM b.step
        OR a.time_us IS DISTINCT FROM b.time_us
        OR a.kind IS DISTINCT FROM b.kind
        OR a.type IS DISTINCT FROM b.type
        OR a.late_us IS DISTINCT FROM b.late_us
        OR a.payload IS DISTINCT FROM b.payload
        OR a.object IS DISTINCT FROM b.object
)
SELECT
    (SELECT step FROM given) AS given_step,
    min(step) AS changed_step,
    coalesce(bool_or(sent_step < coalesce((SELECT step FROM given), sent_step + 1)), FALSE) AS is_root
FROM changed
WHERE step <= $inputs_end
