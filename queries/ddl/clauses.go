package ddl

import (
	"maps"
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// clause is one of those that stand between the column list and AS of a CREATE, in any order, each at most once. A new
// one is a row of clauseTable, a function that reads what follows its words, and one that prints it.
type clause struct {
	words string                           // that it begins with; also what a syntax error says is allowed
	read  func(p *parser, c *Create) error // nil for what this version does not know yet
	print func(c *Create) string           // "" where the statement has none
}

// clauseTable returns all clauses, in the order in which a statement is printed.
func clauseTable() []clause {
	return []clause{
		{"COMMENT", (*parser).comment, printComment},
		{"PARTITIONED BY", (*parser).partitionedBy, printPartitions},
		{"CLUSTER BY", (*parser).clusterBy, printCluster},
		{"TBLPROPERTIES", (*parser).tblProperties, printProperties},
		{"SCHEDULE", (*parser).schedule, printSchedule},
		{"TRIGGER ON UPDATE", (*parser).trigger, printTrigger},
		{"REFRESH POLICY", (*parser).refreshPolicy, printPolicy},
		{words: "WITH"},
		{words: "LOCATION"},
		{words: "USING"},
	}
}

// clauses reads all clauses. It stops before AS and FLOW, behind which a statement says where its rows come from; a
// streaming table may leave that to flows.
func (p *parser) clauses(c *Create) error {
	table := clauseTable()
	seen := map[string]bool{}
	for !p.peek().Is("AS") && !(c.Kind == StreamingTable && (p.peek().Is("FLOW") || p.peek().Kind == lexer.End)) {
		start := p.at
		i := slices.IndexFunc(table, func(k clause) bool { return p.accept(strings.Fields(k.words)...) })
		if i < 0 {
			return p.unexpected(wantClause(table))
		}
		k := table[i]
		if k.read == nil || seen[k.words] {
			p.at = start
		}
		if k.read == nil {
			e := p.notYet(k.words, "")
			e.Want = wantClause(table) + " (" + k.words + " is not supported yet)"
			return e
		}
		if seen[k.words] {
			return p.unexpected("each clause once")
		}
		seen[k.words] = true
		if err := k.read(p, c); err != nil {
			return err
		}
	}
	return nil
}

// wantClause lists what may stand where a clause may.
func wantClause(table []clause) string {
	var known []string
	for _, k := range table {
		if k.read != nil {
			known = append(known, k.words)
		}
	}
	return strings.Join(known, ", ") + " or AS"
}

func (p *parser) comment(c *Create) (err error) {
	c.Comment, err = p.literal("a comment in quotes")
	return err
}

func printComment(c *Create) string {
	if c.Comment == "" {
		return ""
	}
	return "COMMENT " + lexer.QuoteText(c.Comment)
}

func (p *parser) partitionedBy(c *Create) (err error) {
	c.Partitions, err = p.columnNames()
	return err
}

func printPartitions(c *Create) string {
	if len(c.Partitions) == 0 {
		return ""
	}
	return "PARTITIONED BY (" + quoteAll(c.Partitions) + ")"
}

// clusterBy reads the columns that queries look for values in. AUTO leaves the choice to the system, which makes none.
func (p *parser) clusterBy(c *Create) (err error) {
	if p.accept("AUTO") || p.accept("NONE") {
		return nil
	}
	c.Cluster, err = p.columnNames()
	return err
}

func printCluster(c *Create) string {
	if len(c.Cluster) == 0 {
		return ""
	}
	return "CLUSTER BY (" + quoteAll(c.Cluster) + ")"
}

func (p *parser) tblProperties(c *Create) error { return p.properties(c.Properties) }

func printProperties(c *Create) string {
	if len(c.Properties) == 0 {
		return ""
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(c.Properties)) {
		list = append(list, lexer.QuoteText(k)+" = "+lexer.QuoteText(c.Properties[k]))
	}
	return "TBLPROPERTIES (" + strings.Join(list, ", ") + ")"
}

// columnNames reads (column, ...).
func (p *parser) columnNames() ([]string, error) {
	if err := p.expectSymbol("("); err != nil {
		return nil, err
	}
	var columns []string
	for {
		name, err := p.identifier("the name of a column")
		if err != nil {
			return nil, err
		}
		columns = append(columns, name)
		if p.acceptSymbol(")") {
			return columns, nil
		}
		if err := p.expectSymbol(","); err != nil {
			return nil, err
		}
	}
}
