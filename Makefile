# smelt: `make run` starts the server with its sample pipelines, `make test` runs the tests, `make check` is what CI runs.
# gms_pure_go keeps go-mysql-server free of the ICU library, whose version each distribution pins differently.
TAGS  := gms_pure_go
BUILD := build
# Go ends a package's tests after ten minutes, which a busy machine may need for one with hundreds of kills.
TIMEOUT := 30m
ORT   := $(BUILD)/onnxruntime/libonnxruntime.so

.DEFAULT_GOAL := help
.PHONY: help build run test check fmt vet lint race bench interop onnxruntime clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build build/smelt
	go build -tags $(TAGS) -o $(BUILD)/smelt .

onnxruntime: ## fetch the ONNX Runtime library (skipped when SMELT_ONNXRUNTIME names one)
	@sh models/onnx/fetch.sh $(BUILD)/onnxruntime

run: build ## start the server with the sample pipelines and replay the samples
	@sh models/onnx/fetch.sh $(BUILD)/onnxruntime || echo "going on without models: their functions will say what to do"
	@sh integration/run.sh $(BUILD)

test: build onnxruntime ## run all tests
	go test -tags $(TAGS) -timeout $(TIMEOUT) ./...

fmt:
	@out=$$(gofmt -l .); test -z "$$out" || { echo "not formatted:"; echo "$$out"; exit 1; }

vet:
	go vet -tags $(TAGS) ./...

lint: ## the project's own rules: imports, sizes, documentation, errors
	go test -tags $(TAGS) -count=1 ./integration/lint

RACE_PACKAGES ?= ./autoload ./tables/... ./queries/... ./models/... ./functions ./engine/...
race: build onnxruntime ## the same packages under the race detector
	go test -tags $(TAGS) -race -short -timeout $(TIMEOUT) $(RACE_PACKAGES)

check: fmt vet lint test race ## everything that CI runs

bench: build onnxruntime ## measure, as ratios in one run
	go test -tags $(TAGS) -run '^$$' -bench . -benchtime 1x ./integration/bench ./tables ./engine

READERS ?= deltalake,deltalake-sql,polars,duckdb,duckdb-replay,clickhouse,spark,delta-spark
interop: ## other readers of Delta (Spark, DuckDB, ClickHouse, Polars) against smelt; keeps the result in integration/interop/README.md
	python3 -m venv $(BUILD)/interop
	$(BUILD)/interop/bin/pip install --quiet --disable-pip-version-check -r integration/interop/requirements.txt
	SMELT_TEST_PYTHON=$(CURDIR)/$(BUILD)/interop/bin/python SMELT_TEST_READERS=$(READERS) \
		go test -tags $(TAGS) -count=1 -json ./integration/interop | $(BUILD)/interop/bin/python integration/interop/report.py $(READERS)

clean: ## remove what was built
	rm -rf $(BUILD)
