"""Events, nodes, the lockstep coordinator, network models, seeds and the node protocol."""
