package siege_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/siege"
)

const (
	// goal is how many honest requests of a thousand must succeed.
	goal = 999
	// crowd is how many connections stand idle, and how many never speak.
	crowd = 10_000
	// part is how many of them one process holds.
	part = 2_500
	// longestSilence is how long a connection may be open without a handshake.
	longestSilence = 10 * time.Second
)

// Where the honest come from, and the liars.
const (
	apart  = "127.0.0.100"
	astray = "127.0.0.101"
	liars  = "127.0.0.2"
)

// length is how long a siege lasts at full strength.
func length(day, night time.Duration) time.Duration {
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		return night
	}
	return day
}

// TestSiege is the promise of docs/limits.md: with a crowd at the door, who
// says nothing, or little, or lies, an honest caller is served.
func TestSiege(t *testing.T) {
	c := open(t)
	checkFiles(t)
	began := time.Now()
	peace := c.send(siege.Order{Role: "caller", Sources: []string{apart}, Count: 100})
	time.Sleep(2 * time.Second)
	c.sample(t)
	t.Logf("server in peace: %v", c.peak)
	t.Logf("honest caller in peace: %s", tell(peace.end(t)))

	honest := c.send(siege.Order{Role: "caller", Sources: []string{apart}, Count: 100})
	neighbour := c.send(siege.Order{Role: "caller", Sources: []string{liars}, Count: 20})
	// These few see when the server has enough of silence, and are on time.
	witness := c.send(siege.Order{Role: "mute", Sources: []string{astray}, Count: 20})
	var idle, mute []*process
	for i := range crowd / part {
		idle = append(idle, c.send(siege.Order{Role: "idle", Sources: addresses(10+i, 1), Count: part}))
		// Half of those who never speak come from one address, half from a
		// hundred.
		from := addresses(20, 1)
		if i%2 == 1 {
			from = addresses(20+50*i, 50)
		}
		mute = append(mute, c.sendBehind(siege.Order{Role: "mute", Sources: from, Count: part}))
	}
	for _, p := range append(idle, mute...) {
		p.wait(t)
	}
	t.Logf("the crowd stands after %v", time.Since(began).Round(time.Millisecond))
	others := []*process{
		c.sendBehind(siege.Order{Role: "liars", Sources: []string{liars}, Count: 300}),
		c.sendBehind(siege.Order{Role: "slow", Sources: []string{"127.0.0.3"}, Count: 300}),
		c.sendBehind(siege.Order{Role: "bombs", Sources: []string{"127.0.0.4"}, Count: 8}),
	}
	c.last(t, length(15*time.Second, 2*time.Minute))

	judge(t, "honest caller", honest)
	judge(t, "honest caller among liars", neighbour)
	seen := witness.end(t)
	t.Logf("witness: %s", tell(seen))
	if life := seen.Took["life of a connection"]; life.Count == 0 || life.Max > longestSilence {
		t.Errorf("%d connections that said nothing were closed, after up to %v, want all within %v", life.Count, life.Max, longestSilence)
	}
	for name, forces := range map[string][]*process{"idle": idle, "never speaking": mute} {
		var made int64
		for _, p := range forces {
			r := p.end(t)
			made += r.Made
			t.Log(tell(r))
		}
		if made < crowd {
			t.Errorf("only %d connections were made by those %s, want %d", made, name, crowd)
		}
	}
	for _, p := range others {
		r := p.end(t)
		t.Log(tell(r))
		if r.Made == 0 {
			t.Errorf("%s did nothing", r.Role)
		}
	}
	t.Logf("server at its worst: %v; all over after %v", c.peak, time.Since(began).Round(time.Millisecond))
}

// checkFiles says so if the system does not let the whole crowd in.
func checkFiles(t *testing.T) {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if room := files.Max / 4 * 3; room < 2*crowd {
		t.Logf("LESS THAN THE WHOLE CROWD FITS: with RLIMIT_NOFILE at %d the server holds some %d connections at once, and sheds others", files.Max, room)
	}
	if files.Max < part+100 {
		t.Fatalf("RLIMIT_NOFILE is %d, and one process of the siege needs %d", files.Max, part+100)
	}
}

// TestLiars sends nothing but bad signatures, from one address, with the same
// right to the processors as everybody has.
func TestLiars(t *testing.T) {
	c := open(t)
	liar := c.send(siege.Order{Role: "liars", Sources: []string{liars}, Count: 300})
	honest := c.send(siege.Order{Role: "caller", Sources: []string{apart}, Count: 100})
	neighbour := c.send(siege.Order{Role: "caller", Sources: []string{liars}, Count: 20})
	c.last(t, length(8*time.Second, 30*time.Second))
	judge(t, "honest caller", honest)
	judge(t, "honest caller among liars", neighbour)
	r := liar.end(t)
	t.Log(tell(r))
	for code, n := range r.Statuses {
		if code != 401 {
			t.Errorf("%d lies were answered with %d, want 401", n, code)
		}
	}
	if r.Made < 500 || c.peak.held == 0 {
		t.Errorf("%d lies, and %d answers held: that is no flood", r.Made, c.peak.held)
	}
	t.Logf("server at its worst: %v", c.peak)
}

// judge ends a caller, and fails the test if it noticed anything.
func judge(t *testing.T, who string, caller *process) {
	t.Helper()
	r := caller.end(t)
	t.Logf("%s: %s", who, tell(r))
	if r.Made == 0 || (r.Made-r.Failed)*1000 < r.Made*goal {
		t.Errorf("%s: %d of %d requests failed, want at least %d of 1000 to succeed: %q", who, r.Failed, r.Made, goal, r.Errors)
	}
}

// addresses returns n on the loopback interface, away from those above.
func addresses(from, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("127.0.%d.%d", 1+(from+i)/250, (from+i)%250+1)
	}
	return out
}

func tell(r *siege.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d made, %d failed, %d closed by the server", r.Role, r.Made, r.Failed, r.Closed)
	if r.Role == "caller" && r.Made > 0 {
		fmt.Fprintf(&b, ", success %.3f %%", 100*float64(r.Made-r.Failed)/float64(r.Made))
	}
	if len(r.Statuses) > 0 {
		fmt.Fprintf(&b, ", answers %v", r.Statuses)
	}
	for kind, took := range r.Took {
		fmt.Fprintf(&b, "; %s: %v", kind, took)
	}
	if len(r.Errors) > 0 {
		fmt.Fprintf(&b, "; first errors %q", r.Errors)
	}
	return b.String()
}
