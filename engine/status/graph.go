package status

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"path"
	"slices"
	"strings"

	"smelt/tables"
)

// Sizes of the picture in pixels.
const (
	nodeWidth, nodeHeight = 190, 34
	columnGap, rowGap     = 60, 12
	partGap               = 26 // between pipelines that have nothing to do with one another
	margin                = 4
	labelRunes            = 23 // that fit into a node
)

// maxNodes bounds the picture: nobody reads a larger one.
const maxNodes = 200

// lineageSQL yields one row for each pair of tables, directories or models.
const lineageSQL = "SELECT DISTINCT source_type, COALESCE(source_table_full_name, source_path, model) AS source, target_type, target_table_full_name AS target " +
	"FROM smelt.lineage WHERE dependency IS NULL ORDER BY target, source"

// node is one box of the picture.
type node struct {
	Kind  string // path, table, view, streaming_table, materialized_view or model
	Name  string // in full
	Label string
	State string // of a flow; "" for others
	Rows  string // of a flow's table; "" for others
	X, Y  int

	bend   bool // no box: a long edge passes here, so that no box stands over it
	column int
	place  float64 // in its column
	part   int
	from   []*node
	to     []*node
}

// Bad reports whether the flow needs somebody.
func (n *node) Bad() bool { return n.State == "failed" || n.State == "retrying" }

// picture is the graph as the page shows it.
type picture struct {
	Width, Height int
	Nodes         []*node
	Edges         []template.HTMLAttr // the way of each, for <path d>
	More          int                 // nodes that are left out
}

// graph draws smelt.lineage from left to right: files, what is made of them, and the models that take part.
func (s *Server) graph(ctx context.Context) (*picture, error) {
	edges, err := s.cfg.Query(ctx, lineageSQL)
	if err != nil {
		return nil, err
	}
	states, err := s.cfg.Query(ctx, "SELECT CONCAT(`database`, '.', `table`), state, CAST(table_rows AS CHAR) FROM smelt.streams")
	if err != nil {
		return nil, err
	}
	nodes := nodesOf(edges)
	for r := range states.Len {
		for _, n := range nodes {
			if n.Name == cell(states, 0, r) && n.Kind != "model" {
				n.State, n.Rows = cell(states, 1, r), cell(states, 2, r)
			}
		}
	}
	p := &picture{Nodes: nodes}
	if p.More = len(nodes) - maxNodes; p.More > 0 {
		return &picture{More: len(nodes)}, nil
	}
	p.More = 0
	p.lay()
	return p, nil
}

// nodesOf makes the nodes. A model that several pipelines use stands in each of them.
func nodesOf(edges *tables.Batch) []*node {
	byName := map[string]*node{}
	var all []*node
	get := func(kind, name string) *node {
		if n, ok := byName[kind+" "+name]; ok {
			return n
		}
		n := &node{Kind: kind, Name: name, Label: label(kind, name), part: len(all)}
		byName[kind+" "+name] = n
		all = append(all, n)
		return n
	}
	for r := range edges.Len {
		if kind := cell(edges, 0, r); kind != "model" {
			from, to := get(kind, cell(edges, 1, r)), get(cell(edges, 2, r), cell(edges, 3, r))
			from.to, to.from = append(from.to, to), append(to.from, from)
			unite(all, from.part, to.part)
		}
	}
	for r := range edges.Len {
		if cell(edges, 0, r) == "model" {
			to := get(cell(edges, 2, r), cell(edges, 3, r))
			name := cell(edges, 1, r)
			from := get(fmt.Sprintf("model %d", to.part), name)
			from.Kind, from.Label, from.part = "model", label("model", name), to.part
			from.to, to.from = append(from.to, to), append(to.from, from)
		}
	}
	return all
}

func unite(all []*node, a, b int) {
	for _, n := range all {
		if n.part == b {
			n.part = a
		}
	}
}

// label is the end of a name, as far as it fits.
func label(kind, name string) string {
	text := name
	if kind == "path" {
		text = path.Base(name) + "/"
	} else if _, table, ok := strings.Cut(name, "."); ok && kind != "model" {
		text = table
	}
	if r := []rune(text); len(r) > labelRunes {
		text = string(r[:labelRunes-1]) + "…"
	}
	return text
}

// lay places the nodes: a column is how far a node is from what nothing is read for, models stand beside what is read
// together with them; in a column those are near one another that lead to the same.
func (p *picture) lay() {
	for range p.Nodes { // as often as the longest way has steps
		for _, n := range p.Nodes {
			for _, from := range n.from {
				if from.Kind != "model" {
					n.column = max(n.column, from.column+1)
				}
			}
		}
	}
	for _, n := range p.Nodes {
		if n.Kind == "model" {
			n.column = slices.MinFunc(n.to, func(a, b *node) int { return cmp.Compare(a.column, b.column) }).column - 1
		}
	}
	parts := map[int][]*node{}
	var order []int
	for _, n := range p.Nodes {
		if parts[n.part] == nil {
			order = append(order, n.part)
		}
		parts[n.part] = append(parts[n.part], n)
	}
	top := margin
	for _, part := range order {
		top = p.layPart(parts[part], top)
	}
	p.Height = max(0, top-partGap) + margin
	for _, n := range p.Nodes {
		p.Width = max(p.Width, n.X+nodeWidth+margin)
		for _, to := range n.to {
			p.Edges = append(p.Edges, way(n, to))
		}
	}
}

// bends puts a place to pass into each column that an edge crosses.
func bends(nodes []*node) []*node {
	var out []*node
	for _, n := range nodes {
		for i, to := range n.to {
			from := n
			for column := n.column + 1; column < to.column; column++ {
				b := &node{bend: true, column: column, from: []*node{from}, to: []*node{to}}
				if from == n {
					n.to[i] = b
				} else {
					from.to[0] = b
				}
				to.from[slices.Index(to.from, from)] = b
				from = b
				out = append(out, b)
			}
		}
	}
	return append(nodes, out...)
}

// layPart places one pipeline below top and returns where the next begins.
func (p *picture) layPart(nodes []*node, top int) int {
	nodes = bends(nodes)
	columns := map[int][]*node{}
	last := 0
	for _, n := range nodes {
		n.place = float64(len(columns[n.column]))
		columns[n.column] = append(columns[n.column], n)
		last = max(last, n.column)
	}
	for round := range 8 {
		for i := range last + 1 {
			beside := func(n *node) []*node { return n.from }
			if round%2 == 1 {
				i, beside = last-i, func(n *node) []*node { return n.to }
			}
			for _, n := range columns[i] {
				n.place = middle(beside(n), n.place)
			}
			slices.SortStableFunc(columns[i], func(a, b *node) int { return cmp.Compare(a.place, b.place) })
			for at, n := range columns[i] {
				n.place = float64(at) - float64(len(columns[i]))/2
			}
		}
	}
	most := 0
	for _, c := range columns {
		most = max(most, len(c))
	}
	height := most*(nodeHeight+rowGap) - rowGap
	for i, c := range columns {
		start := top + (height-(len(c)*(nodeHeight+rowGap)-rowGap))/2
		for at, n := range c {
			n.X, n.Y = margin+i*(nodeWidth+columnGap), start+at*(nodeHeight+rowGap)
		}
	}
	return top + height + partGap
}

// middle is the mean place of some nodes, or else the present one.
func middle(nodes []*node, now float64) float64 {
	if len(nodes) == 0 {
		return now
	}
	sum := 0.0
	for _, n := range nodes {
		sum += n.place
	}
	return sum / float64(len(nodes))
}

// way is a curve from the right side of a node to the left side of another, through the places where it bends.
func way(from, to *node) template.HTMLAttr {
	x, y := from.X+nodeWidth, from.Y+nodeHeight/2
	text := fmt.Sprintf(`d="M%d %d`, x, y)
	for {
		nextX, nextY := to.X, to.Y+nodeHeight/2
		bend := (nextX - x) / 2
		text += fmt.Sprintf(" C%d %d %d %d %d %d", x+bend, y, nextX-bend, nextY, nextX, nextY)
		if !to.bend {
			return template.HTMLAttr(text + `"`) //nolint:gosec // numbers only
		}
		x, y = nextX+nodeWidth, nextY
		text += fmt.Sprintf(" L%d %d", x, y)
		to = to.to[0]
	}
}
