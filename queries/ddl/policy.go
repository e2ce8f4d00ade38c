package ddl

import "strings"

// refreshPolicy reads what follows REFRESH POLICY.
func (p *parser) refreshPolicy(c *Create) error {
	if c.Kind != MaterializedView {
		p.at -= 2
		return p.unexpected("REFRESH POLICY only for a MATERIALIZED VIEW: a STREAMING TABLE reads each row once")
	}
	for _, policy := range []string{"INCREMENTAL STRICT", "INCREMENTAL", "AUTO", "FULL"} {
		if p.accept(strings.Fields(policy)...) {
			c.Policy = policy
			return nil
		}
	}
	return p.unexpected("AUTO, INCREMENTAL, INCREMENTAL STRICT or FULL")
}

func printPolicy(c *Create) string {
	if c.Policy == "" {
		return ""
	}
	return "REFRESH POLICY " + c.Policy
}
