-- Takes away the rows that both traces have, as often as both have them. The ends of steps are nobody's rows.
INSERT INTO rest BY NAME
WITH uneven AS (
    SELECT
        step, time_us, kind, node, src, dst, type, late_us, payload, object,
        least(count(*) FILTER (side = 'A'), count(*) FILTER (side = 'B')) AS common
    FROM events
    WHERE kind <> 'step'
    GROUP BY step, time_us, kind, node, src, dst, type, late_us, payload, object
    HAVING count(*) FILTER (side = 'A') <> count(*) FILTER (side = 'B')
),
numbered AS (
    SELECT
        events.*,
        common,
        row_number() OVER (
            PARTITION BY side, step, time_us, kind, node, src, dst, type, late_us, payload, object ORDER BY seq
        ) AS number
    FROM events
    JOIN uneven USING (step, time_us, kind, node, src, dst, type, late_us, payload, object)
)
SELECT * EXCLUDE (common, number) FROM numbered WHERE number > common
