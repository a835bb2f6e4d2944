package docs_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// dots stand for any text within a line, and for any lines if alone on one.
const dots = "..."

var spaces = regexp.MustCompile(`\s+`)

// plain returns the lines with what does not matter taken away.
func plain(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.TrimSpace(spaces.ReplaceAllString(line, " "))
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// matches reports whether the line got is as want says.
func matches(want, got string) bool {
	pieces := strings.Split(want, dots)
	for i, p := range pieces {
		pieces[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile("^" + strings.Join(pieces, ".*") + "$").MatchString(got)
}

// diff returns "" if got is as want says. Otherwise it returns both in one,
// with - before what is missing and + before what should not be there.
func diff(want, got []string) string {
	want, got = plain(want), plain(got)
	// cost[i][j] is how many lines of want[i:] and got[j:] have no counterpart.
	cost := make([][]int, len(want)+1)
	for i := len(want); i >= 0; i-- {
		cost[i] = make([]int, len(got)+1)
		for j := len(got); j >= 0; j-- {
			switch {
			case i == len(want):
				cost[i][j] = len(got) - j
			case want[i] == dots && j < len(got):
				cost[i][j] = min(cost[i+1][j], cost[i][j+1])
			case want[i] == dots:
				cost[i][j] = cost[i+1][j]
			case j == len(got):
				cost[i][j] = 1 + cost[i+1][j]
			case matches(want[i], got[j]):
				cost[i][j] = cost[i+1][j+1]
			default:
				cost[i][j] = 1 + min(cost[i+1][j], cost[i][j+1])
			}
		}
	}
	if cost[0][0] == 0 {
		return ""
	}
	return render(want, got, cost)
}

// render walks the cheapest way through cost.
func render(want, got []string, cost [][]int) string {
	var b strings.Builder
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		rest := i < len(want) && want[i] == dots
		switch {
		case rest && cost[i][j] == cost[i+1][j]:
			i++
		case rest:
			fmt.Fprintf(&b, "  %s\n", got[j])
			j++
		case i < len(want) && j < len(got) && matches(want[i], got[j]):
			fmt.Fprintf(&b, "  %s\n", got[j])
			i, j = i+1, j+1
		case i < len(want) && cost[i][j] == 1+cost[i+1][j]:
			fmt.Fprintf(&b, "- %s\n", want[i])
			i++
		default:
			fmt.Fprintf(&b, "+ %s\n", got[j])
			j++
		}
	}
	return b.String()
}

func TestDiff(t *testing.T) {
	tests := []struct{ want, got, diff string }{
		{"", "", ""},
		{"a  b", "a b \n\n", ""},
		{"...", "", ""},
		{"...", "a\nb", ""},
		{"a\n...\nc", "a\nb\nb\nc", ""},
		{"a\n...\nc", "a\nc", ""},
		{"x ... z", "x y z", ""},
		{"x... z", "xy z", ""},
		{"a.b", "acb", "- a.b\n+ acb\n"},
		{"a", "a\nb", "  a\n+ b\n"},
		{"a\nb", "a", "  a\n- b\n"},
		{"", "a", "+ a\n"},
		{"...\nc", "a\nb", "  a\n  b\n- c\n"},
		{"a\nb\nc", "a\nx\nc", "  a\n- b\n+ x\n  c\n"},
		{"a ...", "b a c", "- a ...\n+ b a c\n"},
	}
	for _, tt := range tests {
		if got := diff(strings.Split(tt.want, "\n"), strings.Split(tt.got, "\n")); got != tt.diff {
			t.Errorf("diff(%q, %q) =\n%swant\n%s", tt.want, tt.got, got, tt.diff)
		}
	}
}
