# What people and CI run. Everything is built from source with Go; what else a
# target needs is looked for by test/need.sh, and installed where that is
# possible.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The race detector is on wherever tests run, and so is it in the gatehouse that
# they start: one set of compiled packages for all.
export GATEHOUSE_TEST_RACE ?= 1
# These load the machine on purpose, so each has it to itself. All others wait
# more than they compute, and run as many at a time as there are processors.
LOUD := ./test/durability ./test/siege
ORACLES := bootstrap requests oidc webhook
FUZZTIME ?= 10s
STATICCHECK := bin/staticcheck

.PHONY: help build test quick race conformance lint check fuzz corpus bench nightly generate clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/gatehouse
	go build -trimpath -o bin/gatehouse ./cmd/gatehouse

test: ## run every test, with the race detector and real kubectl
	test/need.sh gcc openssl curl nginx node npm certtool
	go test -race -timeout 20m $$(go list ./... | grep -v $(LOUD:./%=-e /%$$))
	go test -race -timeout 20m -p 1 $(LOUD)
	go -C examples/guard test ./...
	for oracle in $(ORACLES); do go -C test/oracle/$$oracle test ./... || exit; done

quick: ## run the tests that start no other program
	go test -short ./...

race: ## run the tests that start no other program twice, in random order
	test/need.sh gcc
	go test -race -short -shuffle on -count 2 ./...

conformance: ## run real kubectl against a real server, and say what is run
	test/need.sh gcc openssl curl
	go test -race -count 1 -v ./test/conformance ./test/readme ./test/docs

lint: $(STATICCHECK) ## check format, vet, staticcheck, and that generated files are current
	test/need.sh gcc
	test/lint.sh $(STATICCHECK)

check: lint test ## run all that a change has to pass

fuzz: ## fuzz every target for FUZZTIME (10s)
	test/fuzz.sh $(FUZZTIME)

corpus: ## take a handful of what fuzzing has found into the tree, for every run of the tests
	test/corpus.sh

bench: ## compare with upstream's code: what everything costs, the ratio, the targets
	cd bench && go run .

nightly: ## run what takes long: fuzzing, repeated tests, large comparisons (under 80 minutes)
	test/need.sh gcc openssl certtool
	test/night.sh

generate: ## make the generated files again
	go generate ./...

clean: ## remove what was built
	rm -rf bin

$(STATICCHECK): tools/go.mod tools/go.sum
	cd tools && go build -o ../$@ honnef.co/go/tools/cmd/staticcheck
