-- How many rows differ, by node, kind of row, type of event, and kind of difference. What has no partner is missing or extra.
SELECT node, row_kind, type, kind, count(*) AS events
FROM (
    SELECT node, row_kind, type, kind FROM differences
    UNION ALL
    SELECT node, kind AS row_kind, type, CASE side WHEN 'A' THEN 'missing' ELSE 'extra' END AS kind
    FROM rest
    ANTI JOIN (
        SELECT 'A' AS side, expected_seq AS seq FROM differences UNION ALL SELECT 'B', actual_seq FROM differences
    ) USING (side, seq)
)
GROUP BY ALL
ORDER BY ALL
