"""Valid scenario documents, in many spellings, and junk."""

from __future__ import annotations

from hypothesis import strategies as st

from xtrace.engine.values import MAX_INT, MIN_INT

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(MIN_INT, MAX_INT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
durations = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(1, 10_000), st.sampled_from(["us", "ms", " s", "min", "h", "d"])
)
sizes = st.builds(lambda number, unit: f"{number}{unit}", st.integers(0, 10_000), st.sampled_from(["B", "KiB", " MB"]))
sources = st.from_regex(r"[A-Z_]{1,9}", fullmatch=True)
secrets = st.dictionaries(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,9}", fullmatch=True),
    st.fixed_dictionaries({"env": sources}) | st.fixed_dictionaries({"file": sources}),
    max_size=2,
)
ids = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,9}", fullmatch=True).filter(lambda name: name.casefold() != "network")
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=10)
    | st.binary(max_size=5)
    | st.sampled_from(["exact", "auto", "direct", "latency", "fake", "absent", "5ms", "a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers() | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def nodes(name):
    """Return the strategy for a node called `name`."""
    return st.fixed_dictionaries(
        {
            "id": st.just(name),
            "type": st.sampled_from(["sensor", "edge.node"]),
            "implementation": st.just("fake"),
            "model": texts,
        },
        optional={
            "config": st.dictionaries(texts, values, max_size=3),
            "peer": st.just(name) | st.none(),
            "mode": st.sampled_from(["fast", "slow"]),
            "every": durations,
            "room": sizes,
            "gain": st.integers(0, 10) | st.floats(0, 10),
            "count": st.integers(MIN_INT, MAX_INT) | st.none(),
            "loud": st.booleans(),
            "columns": st.lists(texts, max_size=3),
            "env": st.dictionaries(texts, values, max_size=2),
            "extra": values,
        },
    )


def networks(names):
    """Return the strategy for a network between the nodes `names`."""
    own = {
        "base": durations,
        "jitter": durations,
        "loss": st.sampled_from([0, 1, 0.25]),
        "bandwidth": st.sampled_from(["250kbps", "1 Mbps", None]),
    }
    ends = {"src": st.sampled_from(names), "dst": st.sampled_from(names)}
    links = st.lists(
        st.fixed_dictionaries(ends, optional=own), max_size=3, unique_by=lambda link: (link["src"], link["dst"])
    )
    latency = st.fixed_dictionaries({"model": st.just("latency")}, optional={**own, "links": links})
    return latency | st.sampled_from([{}, {"model": "direct"}])


@st.composite
def documents(draw):
    """Draw a valid document."""
    names = draw(st.lists(ids, min_size=1, max_size=4, unique_by=str.casefold))
    return draw(
        st.fixed_dictionaries(
            {
                "scenario": st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True),
                "duration": durations,
                "nodes": st.tuples(*map(nodes, names)).map(list),
            },
            optional={
                "description": texts,
                "expected": texts,
                "runtime_estimate": durations | st.none(),
                "ci_compatible": st.booleans(),
                "requires": st.lists(texts, max_size=3),
                "seed": st.integers(0, 2**64 - 1),
                "step": durations | st.just("auto"),
                "faults": st.just([]),
                "compare": st.sampled_from([{}, {"default": "exact"}]),
                "network": networks(names),
                "secrets": secrets,
            },
        )
    )
