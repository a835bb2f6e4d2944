# What people and CI run. Everything is built from source with Go; what else a
# target needs is looked for by test/need.sh, and installed where that is
# possible.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The race detector is on wherever tests run, and so is it in the gatehouse that
# they start: one set of compiled packages for all. Those tests run one package
# after the other, because some of them load the machine on purpose.
export GATEHOUSE_TEST_RACE ?= 1
FUZZTIME ?= 10s
STATICCHECK := bin/staticcheck

.PHONY: help build test quick race conformance lint check fuzz bench nightly generate clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/gatehouse
	go build -trimpath -o bin/gatehouse ./cmd/gatehouse

test: ## run every test, with the race detector and real kubectl
	test/need.sh gcc openssl nginx node npm certtool
	go test -race -timeout 20m $$(go list ./... | grep -v /test/)
	go test -race -p 1 -timeout 20m ./test/...
	cd examples/guard && go test ./...
	cd test/oracle/bootstrap && go test ./...
	cd test/oracle/requests && go test ./...
	cd test/oracle/oidc && go test ./...
	cd test/oracle/webhook && go test ./...

quick: ## run the tests that start no other program
	go test -short ./...

race: ## run the tests that start no other program again and again, in random order
	test/need.sh gcc
	go test -race -short -shuffle on -count 5 ./...

conformance: ## run real kubectl against a real server, and say what is run
	test/need.sh gcc openssl
	go test -race -count 1 -v ./test/conformance ./test/readme ./test/docs

lint: $(STATICCHECK) ## check format, vet, staticcheck, and that generated files are current
	test/need.sh gcc
	test/lint.sh $(STATICCHECK)

check: lint test ## run all that a change has to pass

fuzz: ## fuzz every target for FUZZTIME (10s)
	test/fuzz.sh $(FUZZTIME)

bench: ## compare with upstream's code: what everything costs, the ratio, the targets
	cd bench && go run .

nightly: ## run what takes long: fuzzing, repeated tests, large comparisons (under 80 minutes)
	$(MAKE) race
	GATEHOUSE_NIGHTLY=1 go test -race -count 1 -timeout 30m $$(go list ./... | grep -v /test/)
	GATEHOUSE_NIGHTLY=1 go test -race -p 1 -count 1 -timeout 30m ./test/...
	cd test/oracle/bootstrap && GATEHOUSE_NIGHTLY=1 go test -count 1 -timeout 30m ./...
	cd test/oracle/requests && GATEHOUSE_NIGHTLY=1 go test -count 1 -timeout 30m ./...
	cd test/oracle/oidc && GATEHOUSE_NIGHTLY=1 go test -count 1 -timeout 40m ./...
	cd test/oracle/webhook && GATEHOUSE_NIGHTLY=1 go test -count 1 -timeout 40m ./...
	$(MAKE) fuzz FUZZTIME=60s

generate: ## make the generated files again
	go generate ./...

clean: ## remove what was built
	rm -rf bin

$(STATICCHECK): tools/go.mod tools/go.sum
	cd tools && go build -o ../$@ honnef.co/go/tools/cmd/staticcheck
