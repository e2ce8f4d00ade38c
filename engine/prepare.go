package engine

import (
	"context"
	"encoding/binary"
	"io"
	"net"

	"github.com/dolthub/vitess/go/mysql"
	"github.com/dolthub/vitess/go/netutil"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/queries/spark"
)

// preparedBytesMax bounds the statement that is looked at before it is prepared; a longer one goes on as it is.
const preparedBytesMax = 1 << 20

// preparing is a connection on which COM_STMT_PREPARE only says what the MySQL parser can read. The parser of vitess reads
// these statements before any other code does, so they have to be put into its spelling on their way in: our statements
// become CALL smelt.run('...'), and those in Spark's spelling MySQL's.
type preparing struct {
	net.Conn
	ready []byte // of the packet that was read last
	rest  int    // bytes of it that are still to come
}

// preparingListener makes all connections so.
type preparingListener struct{ net.Listener }

// Accept implements net.Listener.
func (l preparingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &preparing{Conn: c}, nil
}

// plainConn gives the connection back its socket, which go-mysql-server looks at to see whether the client has gone. What
// reads from it was made before.
func plainConn(c *mysql.Conn) {
	switch outer := c.Conn.(type) {
	case *preparing:
		c.Conn = outer.Conn
	case netutil.ConnWithTimeouts:
		if p, ok := outer.Conn.(*preparing); ok {
			outer.Conn = p.Conn
			c.Conn = outer
		}
	}
}

// Read implements net.Conn. Packets begin with three bytes of length and one of their number, which is 0 for a command.
func (p *preparing) Read(into []byte) (int, error) {
	if len(p.ready) == 0 && p.rest == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	if len(p.ready) > 0 {
		n := copy(into, p.ready)
		p.ready = p.ready[n:]
		return n, nil
	}
	n, err := p.Conn.Read(into[:min(len(into), p.rest)])
	p.rest -= n
	return n, err
}

// next reads the beginning of a packet, or all of it where it prepares a statement.
func (p *preparing) next() error {
	const header = 4
	head := make([]byte, header, header+1)
	if _, err := io.ReadFull(p.Conn, head); err != nil {
		return err
	}
	length := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	p.ready, p.rest = head, length
	if head[3] != 0 || length < 2 || length > preparedBytesMax {
		return nil
	}
	head = head[:header+1]
	if _, err := io.ReadFull(p.Conn, head[header:]); err != nil {
		return err
	}
	p.ready, p.rest = head, length-1
	if head[header] != mysql.ComPrepare {
		return nil
	}
	text := make([]byte, length-1)
	if _, err := io.ReadFull(p.Conn, text); err != nil {
		return err
	}
	text = []byte(preparable(string(text)))
	packet := binary.LittleEndian.AppendUint32(nil, uint32(len(text)+1)) // below 1<<24: the number of the packet stays 0
	p.ready, p.rest = append(append(packet, mysql.ComPrepare), text...), 0
	return nil
}

// preparable returns a statement as the MySQL parser reads it, itself where it does or where nothing can be done.
func preparable(text string) string {
	mysql, ok := spark.Text(context.Background(), text, sqlparser.ParserOptions{})
	if ok && mysql == text {
		return text
	}
	if ours, err := ddl.Parse(text); ours != nil || err != nil {
		return "CALL smelt.run(" + lexer.QuoteText(text) + ")"
	}
	if ok {
		return mysql
	}
	return text
}
