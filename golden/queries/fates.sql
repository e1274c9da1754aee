-- The network: it is given messages (output rows with a destination) and decides their fate (input and drop rows).
-- Returns: the first step in which it was given something else; the first step in which a fate is not the same; whether
-- that is so for a message that was sent before the network was given anything else, which is in an earlier step.
WITH given AS (
    SELECT min(step) AS step FROM changed WHERE kind = 'output' AND dst <> '' AND step <= $outputs_end
),
fates AS (
    SELECT
        fate.step,
        -- The step that holds the output that caused it; 0 if that comes before all rows that were read.
        CASE WHEN fate.cause IS NULL THEN fate.step ELSE coalesce(sent.step, 0) END AS sent_step
    FROM (FROM changed WHERE (kind = 'input' OR kind = 'drop') AND step <= $inputs_end) AS fate
    ASOF LEFT JOIN steps AS sent ON fate.side = sent.side AND fate.cause >= sent.first_seq
)
SELECT
    (SELECT step FROM given) AS given_step,
    min(step) AS changed_step,
    coalesce(bool_or(sent_step < coalesce((SELECT step FROM given), sent_step + 1)), FALSE) AS is_root
FROM fates
