package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/dolthub/go-mysql-server/server"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/vitess/go/mysql"
)

// Limits of the listener.
const (
	connectionsMax        = 200 // each holds a goroutine and about 100 kB of buffers
	waitingConnectionsMax = 50
)

// listenConfig says where and for whom a Server listens.
type listenConfig struct {
	Address          string        // host:port; port 0 takes a free one
	User             string        // user asked of clients; "" lets everybody in as root, on loopback only
	Password         string        // password of User
	StatementTimeout time.Duration // of one client statement; 0 means DefaultStatementTimeout
}

// Server answers MySQL clients. Create it with sqlEngine.listen.
type Server struct {
	listener net.Listener
	inner    *server.Server
	handler  *handler
	stop     context.CancelFunc
	accept   sync.WaitGroup
	once     sync.Once
}

// listen opens the listener of c. Clients wait until Serve is called. An address off loopback needs a user with a
// password.
func (e *sqlEngine) listen(ctx context.Context, c listenConfig) (*Server, error) {
	if !loopback(c.Address) && (c.User == "" || c.Password == "") {
		return nil, fmt.Errorf("listen on %q: an address off loopback needs a user with a password", c.Address)
	}
	if c.StatementTimeout == 0 {
		c.StatementTimeout = DefaultStatementTimeout
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %q: the port is in use, perhaps by another smelt: %w", c.Address, syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", c.Address, err)
	}
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{listener: l, stop: stop}
	e.addAccount(c.User, c.Password)
	s.inner, err = server.NewServerWithHandler(server.Config{
		Listener: preparingListener{l}, Address: l.Addr().String(), Version: serverVersion,
		MaxConnections: connectionsMax, MaxWaitConnections: waitingConnectionsMax,
		ProtocolListenerFactory: protocolListener(c.User == ""),
	}, e.engine, sql.NewContext, newSession, nil, func(h mysql.Handler) (mysql.Handler, error) {
		s.handler = newHandler(stopping, h, e.log, c.StatementTimeout)
		return s.handler, nil
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("listen on %q: %w", c.Address, errors.Join(err, l.Close()))
	}
	return s, nil
}

// protocolListener is go-mysql-server's own but for the login, which may be open.
func protocolListener(open bool) server.ProtocolListenerFunc {
	return func(cfg server.Config, lc mysql.ListenerConfig, sel server.ServerEventListener) (server.ProtocolListener, error) {
		if open {
			lc.AuthServer = openAuth{}
		}
		return server.MySQLProtocolListenerFactory(cfg, lc, sel)
	}
}

// newSession starts the session of a connection, in the default database.
func newSession(_ context.Context, c *mysql.Conn, addr string) (sql.Session, error) {
	client := sql.Client{Capabilities: c.Capabilities}
	if user, ok := c.UserData.(sql.MysqlConnectionUser); ok {
		client.Address, client.User = user.Host, user.User
	}
	started := &session{BaseSession: sql.NewBaseSessionWithClientServer(addr, client, c.ConnectionID)}
	started.SetCurrentDatabase(defaultDatabase)
	return started, nil
}

// Address returns host:port of the listener.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Serve starts to answer clients and returns; it is called at most once. Close ends it.
func (s *Server) Serve() {
	s.accept.Go(func() { _ = s.inner.Start() }) // Start only returns nil
}

// Close stops listening, interrupts the statements in flight, closes all connections and waits until they are gone or
// ctx has ended. It may be called more than once.
func (s *Server) Close(ctx context.Context) error {
	var err error
	s.once.Do(func() {
		err = s.inner.Close()
		s.stop()
		s.handler.closeAll()
	})
	if err != nil {
		return fmt.Errorf("close the mysql listener: %w", err)
	}
	s.accept.Wait() // ends with the listener
	if err := s.handler.wait(ctx); err != nil {
		return fmt.Errorf("wait for mysql connections to end: %w", err)
	}
	return nil
}
