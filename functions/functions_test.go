package functions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/stretchr/testify/require"

	"smelt/models"
)

// fake answers at once and remembers which texts came together.
type fake struct {
	mu      sync.Mutex
	batches map[string][][]string // by model
	fails   error
}

func (f *fake) note(model string, texts []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches[model] = append(f.batches[model], slices.Clone(texts))
	return f.fails
}

// sizes returns how many texts came in each batch of a model, and forgets them.
func (f *fake) sizes(model string) []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []int
	for _, b := range f.batches[model] {
		out = append(out, len(b))
	}
	f.batches = map[string][][]string{}
	return out
}

func (f *fake) Models() []models.Info {
	return []models.Info{{Name: "sentiment", Kind: models.Classifier}, {Name: "topic", Kind: models.Classifier}, {Name: "encoder", Kind: models.Encoder}}
}

func (f *fake) Resolve(ref string) (models.Info, error) {
	for _, m := range f.Models() {
		if m.Name == ref {
			m.ID = m.Name
			return m, nil
		}
	}
	return models.Info{}, models.ErrUnknownModel
}

func label(text string) string { return []string{"negative", "neutral", "positive"}[len(text)%3] }

func (f *fake) Classify(_ context.Context, model string, texts []string) ([]models.Classification, error) {
	out := make([]models.Classification, len(texts))
	for i, t := range texts {
		out[i] = models.Classification{Label: label(t), Score: 0.5 + float64(len(t)%10)/20, Selected: []string{label(t), "other"}}
	}
	return out, f.note(model, texts)
}

func (f *fake) Embed(_ context.Context, model string, texts []string) ([][]float32, error) {
	out := make([][]float32, len(texts))
	for i, t := range texts {
		out[i] = []float32{float32(len(t)), 1}
	}
	return out, f.note(model, texts)
}

func (f *fake) Keywords(_ context.Context, model string, texts []string, o models.KeywordOptions) ([][]models.Keyword, error) {
	out := make([][]models.Keyword, len(texts))
	for i, t := range texts {
		out[i] = []models.Keyword{}
		for _, w := range strings.Fields(t) {
			if o.TopN == 0 || len(out[i]) < o.TopN {
				out[i] = append(out[i], models.Keyword{Term: w, Score: 0.5})
			}
		}
	}
	return out, f.note(model, texts)
}

// provider is the memory databases with our functions.
type provider struct {
	*memory.DbProvider
	set *Set
}

func (p provider) Function(_ *sql.Context, name string) (sql.Function, bool) {
	return p.set.Function(name)
}

type bench struct {
	t      *testing.T
	fake   *fake
	engine *sqle.Engine
	pro    provider
}

const testRows = 300

func newBench(t *testing.T, rules bool) *bench {
	t.Helper()
	if len(analyzer.AlwaysBeforeDefault) == 0 {
		// As engine does: without an element simple SELECTs skip our rule.
		analyzer.AlwaysBeforeDefault = []analyzer.Rule{{Id: 20_000, Apply: func(_ *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, _ *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
			return n, transform.SameTree, nil
		}}}
	}
	f := &fake{batches: map[string][][]string{}}
	b := &bench{t: t, fake: f, pro: provider{memory.NewDBProvider(memory.NewDatabase("d")), New(f)}}
	builder := analyzer.NewBuilder(b.pro)
	if rules {
		builder = b.pro.set.AddRules(builder)
	}
	b.engine = sqle.New(builder.Build(), &sqle.Config{})
	b.must("CREATE TABLE t (id BIGINT PRIMARY KEY, lang VARCHAR(10), text VARCHAR(1000))")
	for i := range testRows {
		text := fmt.Sprintf("'text %d @user%d%s'", i, i%7, strings.Repeat("x", i%11))
		if i%50 == 49 {
			text = "NULL"
		}
		b.must(fmt.Sprintf("INSERT INTO t VALUES (%d, '%s', %s)", i, []string{"en", "de"}[i%2], text))
	}
	b.must("CREATE VIEW v AS SELECT id, sentiment(text) AS s FROM t")
	f.sizes("")
	return b
}

func (b *bench) run(query string) ([]string, error) {
	ctx, cancel := context.WithTimeout(WithCache(context.Background()), 20*time.Second)
	defer cancel()
	session := memory.NewSession(sql.NewBaseSession(), b.pro)
	session.SetCurrentDatabase("d")
	sqlCtx := sql.NewContext(ctx, sql.WithSession(session))
	_, rows, _, err := b.engine.Query(sqlCtx, query)
	if err != nil {
		return nil, err
	}
	var out []string
	for {
		row, err := rows.Next(sqlCtx)
		if errors.Is(err, io.EOF) {
			return out, rows.Close(sqlCtx)
		}
		if err != nil {
			return nil, errors.Join(err, rows.Close(sqlCtx))
		}
		out = append(out, fmt.Sprint(row))
	}
}

func (b *bench) must(query string) []string {
	b.t.Helper()
	out, err := b.run(query)
	require.NoError(b.t, err, query)
	return out
}

const texts = testRows - testRows/50 // those that are not NULL, all different

func sum(sizes []int) int {
	n := 0
	for _, s := range sizes {
		n += s
	}
	return n
}

func TestEveryShapeIsBatchedAndScoresEachTextOnce(t *testing.T) {
	b := newBench(t, true)
	for name, c := range map[string]struct {
		query string
		texts int
	}{
		"project":          {"SELECT sentiment(text) FROM t", texts},
		"two of one task":  {"SELECT sentiment(text), sentiment_score(text), sentiment_json(text) FROM t", texts},
		"where":            {"SELECT id FROM t WHERE sentiment(text) = 'positive'", texts},
		"where and select": {"SELECT sentiment(text) FROM t WHERE sentiment(text) <> 'x' ORDER BY sentiment(text), sentiment_score(text)", texts},
		"cheap first":      {"SELECT id FROM t WHERE sentiment(text) = 'positive' AND lang = 'en'", testRows / 2},
		"group by":         {"SELECT sentiment(text), COUNT(*) FROM t GROUP BY sentiment(text)", texts},
		"aggregate":        {"SELECT AVG(sentiment_score(text)), MAX(sentiment(text)) FROM t", texts},
		"sum of a case":    {"SELECT lang, SUM(CASE WHEN sentiment(text) = 'positive' THEN 1 ELSE 0 END) FROM t GROUP BY lang", texts},
		"having":           {"SELECT lang, MAX(sentiment(text)) m FROM t GROUP BY lang HAVING m <> 'x'", texts},
		"order by":         {"SELECT id FROM t ORDER BY sentiment(text), id LIMIT 10", texts},
		"distinct":         {"SELECT DISTINCT sentiment(text) FROM t", texts},
		"window":           {"SELECT id, ROW_NUMBER() OVER (PARTITION BY sentiment(text) ORDER BY id) FROM t", texts},
		"union":            {"SELECT sentiment(text) FROM t WHERE lang = 'en' UNION ALL SELECT sentiment(text) FROM t WHERE lang = 'de'", texts},
		"derived":          {"SELECT s, COUNT(*) FROM (SELECT sentiment(text) AS s FROM t) q GROUP BY s", texts},
		"cte":              {"WITH q AS (SELECT sentiment(text) AS s FROM t) SELECT s FROM q WHERE s = 'neutral'", texts},
		"view":             {"SELECT s, COUNT(*) FROM v GROUP BY s", texts},
		"nested":           {"SELECT sentiment(CONCAT(text, '!')) FROM t", texts},
		"json_table":       {"SELECT t.id, m.n, sentiment(t.text) FROM t, JSON_TABLE(mentions(t.text), '$[*]' COLUMNS (n VARCHAR(50) PATH '$')) m", texts},
		"insert":           {"INSERT INTO copied SELECT id, sentiment(text) FROM t", texts},
	} {
		t.Run(name, func(t *testing.T) {
			b.must("CREATE TABLE IF NOT EXISTS copied (id BIGINT, s VARCHAR(20))")
			b.fake.sizes("sentiment")
			b.must(c.query)
			sizes := b.fake.sizes("sentiment")
			// The cheap condition lets half of the NULLs through as well.
			require.InDelta(t, c.texts, sum(sizes), 6, "texts scored")
			require.LessOrEqual(t, len(sizes), 14, "batches: %v", sizes)
		})
	}
}

func TestLimitCostsOneSmallBatch(t *testing.T) {
	b := newBench(t, true)
	b.must("SELECT sentiment(text) FROM t LIMIT 5")
	require.Equal(t, []int{8}, b.fake.sizes("sentiment"))
}

func TestKeywordsInsideJSONTableAndSimilarityAreBatched(t *testing.T) {
	b := newBench(t, true)
	rows := b.must("SELECT t.id, k.w FROM t, JSON_TABLE(keywords(t.text, 2), '$[*]' COLUMNS (w VARCHAR(50) PATH '$.keyword')) k")
	require.Len(t, rows, 2*texts)
	require.LessOrEqual(t, len(b.fake.sizes("encoder")), 8)
	b.must("SELECT similarity(text, lang) FROM t")
	sizes := b.fake.sizes("encoder")
	require.Equal(t, texts+2, sum(sizes))
	require.LessOrEqual(t, len(sizes), 8)
}

func TestNullsAndBadArguments(t *testing.T) {
	b := newBench(t, true)
	require.Equal(t, []string{"[<nil> <nil> <nil> <nil> <nil> <nil>]"},
		b.must("SELECT sentiment(NULL), topics(NULL), keywords(NULL), keywords('a', NULL), similarity('a', NULL), mentions(NULL)"))
	require.Equal(t, []string{"[negative negative]"}, b.must("SELECT sentiment(''), sentiment(123)"))
	for query, want := range map[string]string{
		"SELECT sentiment()":               "sentiment",
		"SELECT sentiment('a', 'b')":       "sentiment",
		"SELECT keywords('a', 0)":          "top_n",
		"SELECT keywords('a', 3, 99)":      "max_ngram",
		"SELECT keywords('a', 3, 1, 1.5)":  "diversity",
		"SELECT keywords('a', 'many')":     "keywords",
		"SELECT nomodel('a')":              "nomodel",
		"SELECT keywords(text, -1) FROM t": "top_n",
		"SELECT sentiment('a', 1) FROM t":  "sentiment",
	} {
		_, err := b.run(query)
		require.ErrorContains(t, err, want, query)
	}
}

func TestAFailingModelIsAnErrorAndNoHang(t *testing.T) {
	b := newBench(t, true)
	b.fake.fails = errors.New("the model broke")
	for _, query := range []string{"SELECT sentiment(text) FROM t", "SELECT lang, MAX(sentiment(text)) FROM t GROUP BY lang", "SELECT sentiment(text), COUNT(*) FROM t GROUP BY sentiment(text)", "SELECT id FROM t ORDER BY topic(text)"} {
		_, err := b.run(query)
		require.ErrorContains(t, err, "the model broke", query)
	}
}

// TestApplyNeverChangesAResult compares random statements with and without the rule.
func TestApplyNeverChangesAResult(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	with, without := newBench(t, true), newBench(t, false)
	exprs := []string{"sentiment(text)", "sentiment_score(text)", "topic(CONCAT(text, lang))", "JSON_LENGTH(keywords(text, 3))", "similarity(text, lang)", "id", "lang",
		"CASE WHEN lang = 'en' THEN sentiment(text) ELSE 'none' END", "IF(id > 100, topic(text), lang)", "COALESCE(sentiment(text), topic(lang))"}
	conds := []string{"sentiment(text) = 'positive'", "lang = 'en'", "sentiment_score(text) > 0.7", "id < 150 OR topic(text) = 'neutral'", "text IS NOT NULL", "similarity(text, 'ab') > 20"}
	pick := func(from []string, n int) []string {
		var out []string
		for range n {
			out = append(out, from[r.IntN(len(from))])
		}
		return out
	}
	for range 60 {
		where := strings.Join(pick(conds, 1+r.IntN(3)), []string{" AND ", " OR "}[r.IntN(2)])
		var query string
		switch r.IntN(3) {
		case 0:
			query = fmt.Sprintf("SELECT id, %s FROM t WHERE %s ORDER BY %s, id", strings.Join(pick(exprs, 2), ", "), where, pick(exprs, 1)[0])
		case 1:
			key := pick(exprs, 1)[0]
			query = fmt.Sprintf("SELECT %s AS k, COUNT(*), MAX(%s) FROM t WHERE %s GROUP BY k ORDER BY k", key, pick(exprs, 1)[0], where)
		case 2:
			query = fmt.Sprintf("SELECT q.id, m.n, %s FROM t q, JSON_TABLE(mentions(q.text), '$[*]' COLUMNS (n VARCHAR(50) PATH '$')) m WHERE q.id IN (SELECT id FROM t WHERE %s) ORDER BY q.id", "sentiment(q.text)", where)
		}
		want, errWithout := without.run(query)
		got, errWith := with.run(query)
		require.Equal(t, errWithout == nil, errWith == nil, "%s: %v, %v", query, errWithout, errWith)
		require.Equal(t, want, got, query)
	}
}

func TestMentionsAndHashtags(t *testing.T) {
	for text, want := range map[string][]string{
		"":                             {},
		"@a and @B_2, @a again":        {"a", "B_2"},
		"mail me@example.com":          {},
		"(@x) .@y 'RT @z:' @ alone @-": {"x", "y", "z"},
		"@one@two":                     {"one"},
		"＠wide and @café":              {"wide", "caf"},
		"é@x 1@y _@z":                  {},
		"😀@smile":                      {"smile"},
		"@@double":                     {"double"},
	} {
		require.Equal(t, want, Mentions(text), "%q", text)
	}
	for text, want := range map[string][]string{
		"#one #two #one":          {"one", "two"},
		"#日本語 #naïve #हिन्दी":     {"日本語", "naïve", "हिन्दी"},
		"#1 #2nd a#b ＃wide &#39;": {"2nd", "wide"},
	} {
		require.Equal(t, want, Hashtags(text), "%q", text)
	}
}
