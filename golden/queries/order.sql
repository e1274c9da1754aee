-- Rows that both traces have but that stand in another order within what a node receives or emits in a step.
INSERT INTO differences
WITH common AS (
    SELECT
        *,
        kind = 'input' AS received,
        row_number() OVER (PARTITION BY side, step, node, received ORDER BY seq) AS number
    FROM (FROM events ANTI JOIN rest USING (side, seq))
    WHERE kind <> 'step'
)
SELECT a.node, a.kind, a.type, 'order', a.seq, b.seq
FROM (FROM common WHERE side = 'A') AS a
JOIN (FROM common WHERE side = 'B') AS b USING (step, node, received, number)
WHERE
    a.time_us <> b.time_us OR a.kind <> b.kind OR a.src <> b.src OR a.dst <> b.dst OR a.type <> b.type
    OR a.late_us <> b.late_us OR a.payload <> b.payload OR a.object <> b.object
