-- The first step in which what a node received (input), emitted (output), or failed of (abort) is not the same. A trace
-- that ended early says nothing about what comes after its end.
SELECT
    node,
    CASE kind WHEN 'input' THEN 'input' WHEN 'abort' THEN 'abort' ELSE 'output' END AS direction,
    min(step) AS step
FROM changed
WHERE
    (node <> 'network' OR kind = 'abort')
    AND step <= CASE WHEN kind = 'input' OR kind = 'abort' THEN $inputs_end ELSE $outputs_end END
GROUP BY node, direction
ORDER BY node, direction
