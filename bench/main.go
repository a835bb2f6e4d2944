// Bench runs the work of Gatehouse and the same work through upstream's code,
// side by side in one run, and prints what each costs, the ratio, and whether
// the targets of docs/performance.md are met. It exits with 1 if one is missed
// by more than the noise of the measurement.
//
// Everything but start-up is processor time of one core (GOMAXPROCS=1). Nothing
// but start-up and services that are in the way touches the network.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"strings"

	"k8s.io/klog/v2"

	"gatehouse.dev/gatehouse/bench/measure"
)

func main() {
	only := flag.String("only", "", "a regular expression of the `sections` to run: door, authn, beside, rbac, node, change, revocation, start")
	flag.Parse()
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	missed, err := run(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	if len(missed) > 0 {
		fmt.Printf("\nmissed: %s\n", strings.Join(missed, "; "))
		os.Exit(1)
	}
	fmt.Println("\nall targets are met")
}

func run(only string) ([]string, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	fmt.Printf("%s %s/%s, %s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, processor(), runtime.NumCPU())
	t := measure.NewTable(os.Stdout)
	for _, s := range []struct {
		name string
		run  func(*measure.Table) error
		// parallel sections use all processors.
		parallel bool
	}{
		{"start", startUp, true},
		{"door", frontDoor, false},
		{"authn", credentials, false},
		{"beside", beside, false},
		{"rbac", decisions, false},
		{"node", nodeDecisions, false},
		{"change", changes, false},
		{"revocation", revocations, false},
	} {
		if !pattern.MatchString(s.name) {
			continue
		}
		procs := 1
		if s.parallel {
			procs = runtime.NumCPU()
		}
		before := runtime.GOMAXPROCS(procs)
		err := s.run(t)
		runtime.GOMAXPROCS(before)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return t.Missed(), nil
}

// processor returns the name of the processor, where the system tells.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown processor"
}
