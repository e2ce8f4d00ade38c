package engine

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
)

// recovered turns a panic of the surrounding function into an error; the log gets the stack. Use it with defer.
func recovered(log *slog.Logger, err *error) {
	if fault := recover(); fault != nil {
		log.Error("query panicked", "panic", fault, "stack", string(debug.Stack()))
		*err = mysqlError(errUnknown, "%s", internalErrorText)
	}
}

// errorsJoinClose returns err with the error of closing what had been opened before it, if any.
func errorsJoinClose(err, closing error) error {
	if closing == nil {
		return err
	}
	return errors.Join(err, closing)
}

// firstLine returns the first line of text, cut to what an error message can bear.
func firstLine(text string) string {
	const messageBytes = 80 // as MySQL cuts the text in its own syntax errors
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if len(text) > messageBytes {
		text = strings.ToValidUTF8(text[:messageBytes], "")
	}
	return text
}
