"""Tables that deltalake writes, for smelt to read."""
SCENARIOS = {}
