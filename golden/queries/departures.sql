-- The first step in which what a node received (input), emitted (output), or failed of (abort) is not the same: the n-th
-- row of A is compared with the n-th row of B. A trace that ended early says nothing about what comes after its end.
WITH numbered AS (
    SELECT
        *,
        CASE kind WHEN 'input' THEN 'input' WHEN 'abort' THEN 'abort' ELSE 'output' END AS direction,
        row_number() OVER (PARTITION BY side, node, direction ORDER BY seq) AS number
    FROM events
    WHERE kind <> 'step' AND (node <> 'network' OR kind = 'abort')
)
SELECT node, direction, min(least(a.step, b.step)) AS step
FROM (FROM numbered WHERE side = 'A') AS a
FULL JOIN (FROM numbered WHERE side = 'B') AS b USING (node, direction, number)
WHERE
    (
        a.step IS DISTINCT FROM b.step
        OR a.time_us IS DISTINCT FROM b.time_us
        OR a.kind IS DISTINCT FROM b.kind
        OR a.src IS DISTINCT FROM b.src
        OR a.dst IS DISTINCT FROM b.dst
        OR a.type IS DISTINCT FROM b.type
        OR a.late_us IS DISTINCT FROM b.late_us
        OR a.payload IS DISTINCT FROM b.payload
        OR a.object IS DISTINCT FROM b.object
    )
    AND least(a.step, b.step) <= CASE direction WHEN 'output' THEN $outputs_end ELSE $inputs_end END
GROUP BY node, direction
ORDER BY node, direction
