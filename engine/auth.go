package engine

import (
	"net"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/vitess/go/mysql"
)

// rootUser is who every client is when the server asks for no user.
const rootUser = "root"

// innerUser is the account of queries that the system runs for itself. It is locked: nobody can log in as it.
const innerUser = "smelt.internal"

// openAuth lets every client in, under any name, as root. It serves a loopback listener without a configured user:
// whoever can connect there can read the data directory as well.
type openAuth struct{}

var (
	_ mysql.AuthServer = openAuth{}
	_ mysql.AuthMethod = openAuth{}
)

// AuthMethods implements mysql.AuthServer.
func (openAuth) AuthMethods() []mysql.AuthMethod { return []mysql.AuthMethod{openAuth{}} }

// DefaultAuthMethodDescription implements mysql.AuthServer.
func (openAuth) DefaultAuthMethodDescription() mysql.AuthMethodDescription {
	return mysql.MysqlNativePassword
}

// Name implements mysql.AuthMethod.
func (openAuth) Name() mysql.AuthMethodDescription { return mysql.MysqlNativePassword }

// HandleUser implements mysql.AuthMethod.
func (openAuth) HandleUser(*mysql.Conn, string) bool { return true }

// AllowClearTextWithoutTLS implements mysql.AuthMethod.
func (openAuth) AllowClearTextWithoutTLS() bool { return true }

// AuthPluginData implements mysql.AuthMethod.
func (openAuth) AuthPluginData() ([]byte, error) {
	salt, err := mysql.NewSalt()
	return append(salt, 0), err
}

// HandleAuthPluginData implements mysql.AuthMethod.
func (openAuth) HandleAuthPluginData(*mysql.Conn, string, []byte, []byte, net.Addr) (mysql.Getter, error) {
	return sql.MysqlConnectionUser{User: rootUser, Host: "localhost"}, nil
}

// addInner creates the account of our own queries. With it privileges are on, which information_schema needs to show
// views.
func (e *sqlEngine) addInner() {
	db := e.engine.Analyzer.Catalog.MySQLDb
	ed := db.Editor()
	defer ed.Close()
	db.AddLockedSuperUser(ed, innerUser, "localhost", "")
}

// addAccount creates the account of the clients: user, or root when there is none.
func (e *sqlEngine) addAccount(user, password string) {
	db := e.engine.Analyzer.Catalog.MySQLDb
	ed := db.Editor()
	defer ed.Close()
	if user == "" {
		db.AddEphemeralSuperUser(ed, rootUser, "localhost", "")
		return
	}
	db.AddEphemeralSuperUser(ed, user, "%", password)
}
