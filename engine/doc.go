// Package engine answers MySQL clients, runs the SELECTs of the flows, and composes the other packages into a running
// smelt. Times are UTC, limits carry their unit in the name. Errors that reach a client carry MySQL's number, SQLSTATE
// and wording; all others say what was being done and wrap their cause. See DESIGN.md.
package engine
