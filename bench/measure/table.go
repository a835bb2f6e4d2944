package measure

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// tolerated is the largest part of a target that noise may excuse: a machine on
// which nothing can be measured does not make everything pass.
const tolerated = 0.1

// A Table collects results, and knows which of them miss their target. A result
// misses when it is above its target by more than its own noise.
type Table struct {
	out    *tabwriter.Writer
	missed []string
}

// NewTable returns a table that is written to out, one section at a time.
func NewTable(out io.Writer) *Table {
	return &Table{out: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
}

// Section ends the section before, and begins a new one.
func (t *Table) Section(title string) {
	t.out.Flush()
	fmt.Fprintf(t.out, "\n%s\n\n", title)
	t.row("", "ours", "allocs", "upstream", "allocs", "ratio", "target", "ok")
	t.row("", "----", "------", "--------", "------", "-----", "------", "--")
}

// Absolute adds what costs at most a target, with a peer that has none. Zero is
// no target.
func (t *Table) Absolute(what string, ours, theirs Cost, ratio Ratio, target time.Duration) {
	over := target > 0 && Exceeds(float64(ours.CPU), float64(ours.Noise), float64(target))
	t.row(what, Show(ours.CPU), count(ours.Allocs), Show(theirs.CPU), count(theirs.Allocs), relation(ratio), atMost(Show(target), target > 0), t.verdict(what, over, target > 0))
}

// Relative adds what costs at most a part of what its peer costs. Zero is no
// target.
func (t *Table) Relative(what string, ours, theirs Cost, ratio Ratio, target float64) {
	over := target > 0 && Exceeds(ratio.Value, ratio.Noise, target)
	t.row(what, Show(ours.CPU), count(ours.Allocs), Show(theirs.CPU), count(theirs.Allocs), relation(ratio), atMost(fmt.Sprintf("1/%.3g", 1/target), target > 0), t.verdict(what, over, target > 0))
}

// Alone adds a figure that has no peer. Zero is no target.
func (t *Table) Alone(what, ours string, over bool, target string) {
	t.row(what, ours, "", "", "", "", atMost(target, target != ""), t.verdict(what, over, target != ""))
}

// None adds a number of allocations that has to be none.
func (t *Table) None(what string, allocs float64) {
	t.row(what, count(allocs), "", "", "", "", "none", t.verdict(what, allocs >= 0.5, true))
}

// Missed ends the table and returns what missed its target.
func (t *Table) Missed() []string {
	t.out.Flush()
	return t.missed
}

// Exceeds reports whether a value is above the target by more than its noise.
func Exceeds(value, noise, target float64) bool {
	return value-min(noise, target*tolerated) > target
}

func (t *Table) row(cells ...string) { fmt.Fprintln(t.out, strings.Join(cells, "\t")) }

func (t *Table) verdict(what string, over, judged bool) string {
	switch {
	case !judged:
		return ""
	case over:
		t.missed = append(t.missed, what)
		return "NO"
	}
	return "yes"
}

func atMost(target string, judged bool) string {
	if !judged {
		return ""
	}
	return "<= " + target
}

func relation(r Ratio) string {
	switch {
	case r.Value == 0:
		return ""
	case r.Value < 0.995:
		return fmt.Sprintf("1/%.3g", 1/r.Value)
	}
	return fmt.Sprintf("%.2f", r.Value)
}

func count(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }

// Show writes a duration with three digits and in few units.
func Show(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g us", float64(d)/1e3)
	}
	return fmt.Sprintf("%.3g ms", float64(d)/1e6)
}
