// Package client is the small SQL client behind `smelt sql`, for machines without a MySQL client: it sends statements
// one by one and prints each result as a table. Errors keep the server's number and SQLSTATE.
package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"smelt/queries/lexer"
)

// maxScriptBytes bounds what is read from standard input: a script is held in memory to be split.
const maxScriptBytes = 16 << 20

// connectTimeout bounds the wait for the server's greeting.
const connectTimeout = 5 * time.Second

// Config says where to connect and what to run.
type Config struct {
	Address    string // host:port of the server
	User       string
	Password   string
	Database   string
	Statements string    // statements separated by semicolons; "" reads them from In
	In         io.Reader // used only when Statements is empty
	Out        io.Writer // results
}

// Run executes the statements in order on one connection and stops at the first error.
func Run(ctx context.Context, c Config) error {
	script := c.Statements
	if script == "" {
		text, err := io.ReadAll(io.LimitReader(c.In, maxScriptBytes+1))
		if err != nil {
			return fmt.Errorf("read statements: %w", err)
		}
		if len(text) > maxScriptBytes {
			return fmt.Errorf("read statements: script is larger than %d bytes", maxScriptBytes)
		}
		script = string(text)
	}
	pieces, err := lexer.Split(script)
	if err != nil {
		return fmt.Errorf("split statements: %w", err)
	}
	db, err := open(c)
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return connectError(c.Address, err)
	}
	defer conn.Close()
	for _, p := range pieces {
		if err := execute(ctx, conn, p.Text, c.Out); err != nil {
			return err
		}
	}
	return nil
}

func open(c Config) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", c.Address
	cfg.User, cfg.Passwd, cfg.DBName = c.User, c.Password, c.Database
	cfg.Timeout = connectTimeout
	cfg.Params = map[string]string{"charset": "utf8mb4"}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("configure connection to %s: %w", c.Address, err)
	}
	return sql.OpenDB(connector), nil
}

func connectError(address string, err error) error {
	var refused *net.OpError
	if errors.As(err, &refused) {
		return fmt.Errorf("connect to %s: %w (is `smelt serve` running there?)", address, err)
	}
	return fmt.Errorf("connect to %s: %w", address, err)
}

// execute runs one statement and prints its rows, or how many rows it changed.
func execute(ctx context.Context, conn *sql.Conn, statement string, out io.Writer) error {
	start := time.Now()
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return fmt.Errorf("run statement: %w", err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return fmt.Errorf("read column names: %w", err)
	}
	if len(names) == 0 {
		fmt.Fprintf(out, "ok (%s)\n", elapsed(start))
		return rows.Err()
	}
	table := newTable(out, names)
	count := 0
	for rows.Next() {
		line, err := scan(rows, len(names))
		if err != nil {
			return err
		}
		if err := table.Append(line); err != nil {
			return fmt.Errorf("lay out row %d: %w", count+1, err)
		}
		count++
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	if count > 0 {
		if err := table.Render(); err != nil {
			return fmt.Errorf("print table: %w", err)
		}
	}
	noun := "rows"
	if count == 1 {
		noun = "row"
	}
	fmt.Fprintf(out, "%d %s (%s)\n", count, noun, elapsed(start))
	return nil
}

func newTable(out io.Writer, names []string) *tablewriter.Table {
	// The ASCII frame is the one that MySQL's own client draws.
	table := tablewriter.NewTable(out,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{Symbols: tw.NewSymbols(tw.StyleASCII)})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAlignment(tw.AlignLeft),
		tablewriter.WithRowAlignment(tw.AlignLeft),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithTrimSpace(tw.Off))
	table.Header(names)
	return table
}

func scan(rows *sql.Rows, n int) ([]string, error) {
	values := make([]sql.NullString, n)
	targets := make([]any, n)
	for i := range values {
		targets[i] = &values[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	line := make([]string, n)
	for i, v := range values {
		if line[i] = v.String; !v.Valid {
			line[i] = "NULL"
		}
	}
	return line, nil
}

func elapsed(start time.Time) time.Duration {
	return time.Since(start).Round(100 * time.Microsecond)
}
