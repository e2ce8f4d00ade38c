//go:build deps

// This file keeps modules that are not imported yet in go.mod while the first slice is being written.
package main

import (
	_ "github.com/alecthomas/kong"
	_ "github.com/cockroachdb/datadriven"
	_ "github.com/cockroachdb/pebble/vfs"
	_ "github.com/dolthub/go-mysql-server/server"
	_ "github.com/dolthub/go-mysql-server"
	_ "github.com/dolthub/vitess/go/vt/sqlparser"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/google/uuid"
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/parquet-go/parquet-go"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/stretchr/testify/require"
	_ "github.com/sugarme/tokenizer/pretrained"
	_ "github.com/yalue/onnxruntime_go"
	_ "github.com/goccy/go-json"
	_ "github.com/shopspring/decimal"
	_ "github.com/tidwall/gjson"
	_ "github.com/olekukonko/tablewriter"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/text/unicode/norm"
	_ "gonum.org/v1/gonum/stat"
)
