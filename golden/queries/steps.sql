-- Adds the steps of one trace ($side) from a block of it, the Arrow table `incoming`.
INSERT INTO steps
SELECT $side AS side, step, min(seq) AS first_seq, bool_or(kind = 'step' OR (kind = 'abort' AND node = 'network')) AS is_whole
FROM incoming
GROUP BY step
