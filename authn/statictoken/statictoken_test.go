package statictoken_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/token/tokenfile"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/identity"
)

var key = bytes.Repeat([]byte("k"), 32)

func open(t testing.TB, text string) (*statictoken.Verifier, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := statictoken.Open(statictoken.Config{Path: path, Key: key, Audiences: []string{"api", "other"}})
	return v, path, err
}

// The same file and the same tokens, to us and to Kubernetes.
func TestAsUpstream(t *testing.T) {
	files := []string{
		"t,u,id\n",
		"t,u,id,g\n",
		"t,u,id,\"g1,g2\"\n",
		"t,u,id,g1,g2\n",
		"t,u,id,\"g1, g2\",extra,columns\n",
		"t,u,\n",
		" t,u,id\n",
		"# t,u,id\n",
		"t,u,id\nt,v,id2,g\n",
		",u,id\nt,v,id\n",
		"\n\nt,u,id\n",
		"\"t\"\"q\",u,id\n",
		"t,u,id\r\n",
		"t,\"multi\nline\",id\n",
		"t,system:anonymous,id,system:unauthenticated\n",
		"",
		"t,u\n",
		"t,u,\"id\n",
		"t,u\"x,id\n",
		"t,u,id\nx\n",
	}
	tokens := []string{"t", " t", "# t", "t\"q", "T", "t ", "u", "x"}
	for _, text := range files {
		ours, path, err := open(t, text)
		theirs, theirErr := tokenfile.NewCSV(path)
		if (err == nil) != (theirErr == nil) {
			t.Errorf("%q: error %v, upstream %v", text, err, theirErr)
		}
		if err != nil || theirErr != nil {
			continue
		}
		for _, token := range tokens {
			res, err := ours.VerifyToken(t.Context(), token, nil)
			want, ok, _ := theirs.AuthenticateToken(t.Context(), token)
			if (err == nil) != ok {
				t.Errorf("%q: token %q: %v, upstream ok = %v", text, token, err, ok)
				continue
			}
			if !ok {
				continue
			}
			id, groups := res.Identity, identity.WithAuthenticated(want.User.GetName(), want.User.GetGroups())
			if id.Name != want.User.GetName() || id.UID != want.User.GetUID() || !reflect.DeepEqual(id.Groups, groups) {
				t.Errorf("%q: token %q is %+v, upstream %+v", text, token, id, want.User)
			}
		}
	}
}

func TestStricterThanUpstream(t *testing.T) {
	if _, path, err := open(t, "secret,u,1\nhunter2,,1\n"); err == nil || !strings.Contains(err.Error(), path) ||
		!strings.Contains(err.Error(), "record 2: empty user name") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("empty user name: %v", err)
	}
	v, _, err := open(t, "t,u,1,\"a,,b\"\ne,u,1,\n,x,1\nt,u2,1\n")
	if err != nil {
		t.Fatal(err)
	}
	res, err := v.VerifyToken(t.Context(), "e", nil)
	if err != nil || !reflect.DeepEqual(res.Identity.Groups, []string{identity.GroupAuthenticated}) {
		t.Errorf("an empty group column gives %+v, %v", res, err)
	}
	want := []string{
		"record 1: empty group name, group ignored",
		"record 2: empty group name, group ignored",
		"record 3: empty token, record ignored",
		"record 4: duplicate token, the earlier record is ignored",
	}
	if got := v.Warnings(); !reflect.DeepEqual(got, want) {
		t.Errorf("Warnings = %q, want %q", got, want)
	}
	if _, err := statictoken.Open(statictoken.Config{Path: "x", Key: []byte("short")}); err == nil {
		t.Error("a short key is taken")
	}
}

func TestAudiences(t *testing.T) {
	v, _, err := open(t, "t,u,1\n")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ asked, want []string }{
		{nil, []string{"api", "other"}},
		{[]string{"other", "foreign"}, []string{"other"}},
		{[]string{"foreign"}, nil},
		{[]string{""}, nil},
	}
	for _, tt := range tests {
		res, err := v.VerifyToken(t.Context(), "t", tt.asked)
		if tt.want == nil {
			if !errors.Is(err, authn.ErrNoCredential) {
				t.Errorf("audiences %q: %v, %v, want ErrNoCredential", tt.asked, res, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(res.Audiences, tt.want) {
			t.Errorf("audiences %q: %v, %v, want %q", tt.asked, res, err, tt.want)
		}
	}
}

func TestCredentialID(t *testing.T) {
	v, path, err := open(t, "hunter2,u,1\nother,u,1\n")
	if err != nil {
		t.Fatal(err)
	}
	id := func(v *statictoken.Verifier, token string) string {
		res, err := v.VerifyToken(t.Context(), token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res.Identity.Credential.ID
	}
	replica, err := statictoken.Open(statictoken.Config{Path: path, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := statictoken.Open(statictoken.Config{Path: path, Key: bytes.Repeat([]byte("x"), 32)})
	if err != nil {
		t.Fatal(err)
	}
	got := id(v, "hunter2")
	if !strings.HasPrefix(got, "TOKEN=") || len(got) != len("TOKEN=")+32 {
		t.Errorf("ID = %q", got)
	}
	if got != id(replica, "hunter2") {
		t.Error("a replica with the same key gives another ID")
	}
	if got == id(elsewhere, "hunter2") || got == id(v, "other") {
		t.Error("another key or token gives the same ID")
	}
}

// A change of the file ends what was verified before; a bad file does not.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.csv")
	write := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("t,u,1\n")
	changed := make(chan error, 8)
	v, err := statictoken.Open(statictoken.Config{Path: path, Key: key, Notify: func(err error) { changed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { v.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()

	before, err := v.VerifyToken(ctx, "t", nil)
	if err != nil {
		t.Fatal(err)
	}
	write("t,u\n")
	if err := <-changed; err == nil || v.Status().Problem == nil {
		t.Errorf("a bad file is no problem: %v", err)
	}
	if again, err := v.VerifyToken(ctx, "t", nil); err != nil || again != before || !before.Fresh(time.Now()) {
		t.Errorf("after a bad file: %v, %v", again, err)
	}
	write("t,u,1,new\n")
	if err := <-changed; err != nil {
		t.Errorf("a mended file is a problem: %v", err)
	}
	for v.Status().Problem != nil { // until the change is in force
		time.Sleep(time.Millisecond)
	}
	if before.Fresh(time.Now()) {
		t.Error("what was verified by the old file is still fresh")
	}
	after, err := v.VerifyToken(ctx, "t", nil)
	if err != nil || !after.Identity.InGroup("new") || !after.Fresh(time.Now()) {
		t.Errorf("after a change: %+v, %v", after, err)
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{"t,u,1\n", "t,u,1,\"a,b\"\n", ",,,\n", "\"", "t,,1\n", "t,u,1,,\n"} {
		f.Add(s)
	}
	path := filepath.Join(f.TempDir(), "tokens.csv")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := statictoken.Open(statictoken.Config{Path: path, Key: key})
		_, theirs := tokenfile.NewCSV(path)
		if err != nil && theirs == nil && !strings.Contains(err.Error(), "empty user name") {
			t.Errorf("%q: %v, but upstream reads it", text, err)
		}
		if err == nil && theirs != nil {
			t.Errorf("%q is read, but upstream says %v", text, theirs)
		}
	})
}

// The table finds what a map would, whatever the number of records.
func TestManyTokens(t *testing.T) {
	for _, n := range []int{1, 47, 48, 49, 5000} {
		var text strings.Builder
		want := map[string]string{}
		for i := range n {
			token, name := fmt.Sprint("token", i*i%(n-n/8)), fmt.Sprint("user", i)
			fmt.Fprintf(&text, "%s,%s,id%d,\"g%d,all\"\n", token, name, i, i%3)
			want[token] = name
		}
		v, _, err := open(t, text.String())
		if err != nil {
			t.Fatal(err)
		}
		if repeats := len(v.Warnings()); repeats != n-len(want) {
			t.Errorf("%d records: %d warnings, want %d", n, repeats, n-len(want))
		}
		for token, name := range want {
			res, err := v.VerifyToken(t.Context(), token, nil)
			if err != nil || res.Identity.Name != name || res.Identity.UID != "id"+name[len("user"):] ||
				len(res.Identity.Groups) != 3 || res.Identity.Groups[1] != "all" {
				t.Fatalf("%d records: %s is %+v, %v, want %s", n, token, res, err, name)
			}
		}
		for i := range n {
			if _, err := v.VerifyToken(t.Context(), fmt.Sprint("token", n+i), nil); !errors.Is(err, authn.ErrNoCredential) {
				t.Fatalf("%d records: a token that is not there: %v", n, err)
			}
		}
	}
}

// A token has one result, whoever uses it first.
func TestOneResult(t *testing.T) {
	v, _, err := open(t, "t,u,1\n")
	if err != nil {
		t.Fatal(err)
	}
	results := make([]*authn.Result, 8)
	var work sync.WaitGroup
	for i := range results {
		work.Go(func() { results[i], _ = v.VerifyToken(t.Context(), "t", nil) })
	}
	work.Wait()
	for _, res := range results {
		if res == nil || res != results[0] {
			t.Errorf("results %p and %p", res, results[0])
		}
	}
}
