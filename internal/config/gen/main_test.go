package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPageIsCurrent(t *testing.T) {
	want, err := render(filepath.Join("..", "testdata", "example.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("docs/configuration.md is stale: run go generate ./internal/config/gen")
	}
}
