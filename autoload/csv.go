package autoload

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// records reads the records of CSV, one after another.
type records interface {
	Read() ([]string, error)
	InputOffset() int64
	FieldPos(field int) (line, column int)
}

// reader returns a reader of the records of CSV data.
func (s *shape) reader(data []byte) records {
	if s.unquoted {
		return &unquotedCSV{shape: s, data: data}
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.Comment, r.ReuseRecord = s.sep, s.comment, true
	r.FieldsPerRecord = len(s.names)
	return r
}

// unquotedCSV reads CSV in which a quote is a character like others, so that each line is a record.
type unquotedCSV struct {
	*shape
	data   []byte
	at     int
	line   int // of the last record, from 1
	record []string
}

// Read implements records.
func (r *unquotedCSV) Read() ([]string, error) {
	for r.at < len(r.data) {
		line, _, _ := bytes.Cut(r.data[r.at:], []byte("\n"))
		r.at = min(len(r.data), r.at+len(line)+1)
		r.line++
		text := string(bytes.TrimSuffix(line, []byte("\r")))
		if text == "" || r.comment != 0 && strings.HasPrefix(text, string(r.comment)) {
			continue
		}
		r.record = r.record[:0]
		for field := range strings.SplitSeq(text, string(r.sep)) {
			r.record = append(r.record, field)
		}
		if len(r.names) > 0 && len(r.names) != len(r.record) {
			return r.record, &csv.ParseError{StartLine: r.line, Line: r.line, Err: csv.ErrFieldCount}
		}
		return r.record, nil
	}
	return nil, io.EOF
}

// InputOffset implements records.
func (r *unquotedCSV) InputOffset() int64 { return int64(r.at) }

// FieldPos implements records.
func (r *unquotedCSV) FieldPos(int) (line, column int) { return r.line, 1 }

// cutCSV finds the last line end outside of quotes.
func (s *shape) cutCSV(data []byte) (end int) {
	quoted := false
	for at := 0; ; {
		length := bytes.IndexByte(data[at:], '\n') + 1
		if length == 0 {
			return end
		}
		line := data[at : at+length]
		at += length
		if !quoted && s.comment != 0 && bytes.HasPrefix(line, []byte(string(s.comment))) {
			end = at
			continue
		}
		if quoted = quoted != (bytes.Count(line, []byte(`"`))%2 == 1); !quoted {
			end = at
		}
	}
}

// begin takes the header from the first piece of a file, or counts its fields.
func (s *shape) begin(p *piece) error {
	s.names = nil // the file may be read a second time
	p.data = bytes.TrimPrefix(p.data, []byte("\ufeff"))
	if s.format != formatCSV || p.err != nil {
		return nil
	}
	r := s.reader(p.data)
	record, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return csvError(err, p.line, 0)
	}
	if !s.header {
		for i := range record {
			s.names = append(s.names, "_c"+strconv.Itoa(i))
		}
		return nil
	}
	line, _ := r.FieldPos(0)
	for i, name := range record {
		if !utf8.ValidString(name) {
			return fmt.Errorf("line %d: not UTF-8 text%w", line, silent{errContent})
		}
		if name == "" {
			name = "_c" + strconv.Itoa(i)
		}
		if slices.Contains(s.names, name) {
			return fmt.Errorf("line %d: the header has %q twice%w", line, name, silent{errContent})
		}
		s.names = append(s.names, name)
	}
	p.line += bytes.Count(p.data[:r.InputOffset()], []byte("\n"))
	p.data = p.data[r.InputOffset():]
	return nil
}

// csvError says where CSV is wrong and why.
func csvError(err error, line, want int) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return fmt.Errorf("line %d: not CSV: %w%w", line+1, err, silent{errContent})
	}
	if errors.Is(err, csv.ErrFieldCount) {
		return fmt.Errorf("line %d: want %d fields, as in the first record%w", line+parse.StartLine, want, silent{errContent})
	}
	return fmt.Errorf("line %d: not CSV: %w%w", line+parse.Line, parse.Err, silent{errContent})
}

// records decodes a piece of CSV.
func (d *decoder) records(p *piece) error {
	places := make([]int, len(p.shape.names))
	for i, name := range p.shape.names {
		places[i] = d.columns.position(name)
	}
	r := p.shape.reader(p.data)
	d.lineOf = func() int { line, _ := r.FieldPos(0); return p.line + line }
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvError(err, p.line, len(places))
		}
		d.beginRow()
		for i, field := range record {
			v := value{kind: plain, raw: field}
			if field == p.shape.null {
				v = value{kind: 'n', raw: "null"}
			}
			if at := places[i]; at >= 0 {
				d.values[at] = v
			} else {
				d.strays = append(d.strays, stray{p.shape.names[i], v})
			}
		}
		if err := d.appendRow(); err != nil {
			return err
		}
	}
}

// lines decodes a piece of text: a row for each line, or one for all.
func (d *decoder) lines(p *piece) error {
	text, line := string(p.data), p.line
	place := d.columns.position(textColumn)
	d.lineOf = func() int { return line }
	for text != "" {
		row, rest := text, ""
		if !p.shape.wholeText {
			row, rest, _ = strings.Cut(text, "\n")
			row = strings.TrimSuffix(row, "\r")
		}
		text = rest
		line++
		d.beginRow()
		if v := (value{kind: plain, raw: row}); place >= 0 {
			d.values[place] = v
		} else {
			d.strays = append(d.strays, stray{textColumn, v})
		}
		if err := d.appendRow(); err != nil {
			return err
		}
	}
	return nil
}
