// Command force is one process of the siege: it reads an order from standard
// input, writes a line when it is at full strength, works until its input ends,
// and writes what it has seen. See package siege.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"gatehouse.dev/gatehouse/test/siege"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	var order siege.Order
	if err := decoder.Decode(&order); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	force, err := siege.New(order)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, in)
	}()
	report := force.Run(ctx, func() { fmt.Fprintln(out, `"ready"`) })
	return json.NewEncoder(out).Encode(report)
}
