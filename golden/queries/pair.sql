-- Pairs what is left of A and B by the columns {key}, in order, and calls such a pair a difference of {kind}.
INSERT INTO differences
WITH numbered AS (
    SELECT *, row_number() OVER (PARTITION BY side, {key} ORDER BY seq) AS number
    FROM (FROM rest ANTI JOIN (
        SELECT 'A' AS side, expected_seq AS seq FROM differences UNION ALL SELECT 'B', actual_seq FROM differences
    ) USING (side, seq))
)
SELECT a.node, a.kind, a.type, '{kind}', a.seq, b.seq
FROM (FROM numbered WHERE side = 'A') AS a
JOIN (FROM numbered WHERE side = 'B') AS b USING ({key}, number)
