package credential_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/api/credential"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

// pages is a register that shows its entries two at a time, and then fails if it
// is to.
type pages struct {
	entries []*register.Entry
	err     error
	asked   register.Query
	listing register.Listing
}

func (p *pages) Find(_ context.Context, name string) (*register.Entry, error) {
	for _, e := range p.entries {
		if e.Name() == name {
			return e, nil
		}
	}
	return nil, p.err
}

func (p *pages) List(_ context.Context, q register.Query, show func([]*register.Entry) error) (register.Listing, error) {
	p.asked = q
	for i := 0; i < len(p.entries); i += 2 {
		if err := show(p.entries[i:min(i+2, len(p.entries))]); err != nil {
			return register.Listing{}, err
		}
	}
	return p.listing, p.err
}

func entry(n int) *register.Entry {
	return &register.Entry{
		Method: identity.ServiceAccount, ID: fmt.Sprintf("JTI=00000000-0000-4000-8000-%012x", n),
		User: "system:serviceaccount:ns:sa", Asker: register.Asker{User: "jane", Impersonator: "joe"},
		Bound:  &register.Reference{Kind: "Pod", Namespace: "ns", Name: "p"},
		Issued: time.Now().Add(-time.Hour), Expires: time.Now().Add(100 * time.Hour), Revision: 5,
	}
}

func ask(t *testing.T, p *pages, method, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	h := credential.New(p, slog.New(slog.DiscardHandler))
	r := httptest.NewRequest(method, path, nil)
	if !h.Serves(r.URL.Path) {
		t.Fatalf("%s is not served", path)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// table is what kubectl asks for.
const table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"

func TestList(t *testing.T) {
	p := &pages{listing: register.Listing{Revision: 7, Continue: "c"}}
	for n := range 5 {
		p.entries = append(p.entries, entry(n))
	}
	w := ask(t, p, "GET", credential.Path+"?limit=5", "application/json")
	var all register.CredentialList
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if all.Kind != "CredentialList" || all.APIVersion != "gatehouse.dev/v1alpha1" || len(all.Items) != 5 || all.Items[4].Name != p.entries[4].Name() ||
		all.Items[0].Kind != "Credential" || all.ResourceVersion != "7" || all.Continue != "c" {
		t.Errorf("%s", w.Body)
	}
	if p.asked.Most != 5 || p.asked.Look == 0 || p.asked.Continue != "" {
		t.Errorf("asked for %+v", p.asked)
	}

	w = ask(t, p, "GET", credential.Path+"?limit=5&fieldSelector=status.method%3DX509&continue=there", "")
	if p.asked.Wants == nil || p.asked.Continue != "there" {
		t.Errorf("%s, asked for %+v", w.Body, p.asked)
	}
	// Nothing has a label.
	for selector, want := range map[string]int{"a=b": 0, "a!=b": 5, "!a": 5, "a": 0, "": 5} {
		w := ask(t, p, "GET", credential.Path+"?labelSelector="+strings.ReplaceAll(selector, "=", "%3D"), "")
		if json.Unmarshal(w.Body.Bytes(), &all) != nil || len(all.Items) != want {
			t.Errorf("label selector %q: %d entries, want %d", selector, len(all.Items), want)
		}
	}
	p.entries, p.listing = nil, register.Listing{Revision: 7}
	if w := ask(t, p, "GET", credential.Path, ""); w.Body.String() != `{"kind":"CredentialList","apiVersion":"gatehouse.dev/v1alpha1","items":[],"metadata":{"resourceVersion":"7"}}`+"\n" {
		t.Errorf("an empty list: %s", w.Body)
	}
}

func TestTable(t *testing.T) {
	ended, never := entry(1), entry(2)
	ended.Expires, ended.LastUsed = time.Now().Add(-time.Hour), time.Now().Truncate(time.Hour)
	never.Expires, never.Bound, never.LastUsed, never.Audiences = time.Time{}, nil, time.Now().Add(-5*time.Hour), []string{"a", "b"}
	p := &pages{entries: []*register.Entry{entry(0), ended, never}}
	for _, tt := range []struct{ path, object string }{
		{credential.Path, "PartialObjectMetadata"},
		{credential.Path + "?includeObject=None", ""},
		{credential.Path + "?includeObject=Object", "Credential"},
	} {
		w := ask(t, p, "GET", tt.path, table)
		var got struct {
			metav1.TypeMeta
			metav1.Table
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || len(got.Rows) != 3 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for i, want := range []string{"4d3h <none> 60m jane (by joe) Pod ns/p <none>", "ended <1h 60m jane (by joe) Pod ns/p <none>", "never 5h 60m jane (by joe) <none> a,b"} {
			cells := got.Rows[i].Cells
			if len(cells) != len(got.ColumnDefinitions) || cells[0] != p.entries[i].Name() {
				t.Fatalf("cells %v", cells)
			}
			if shown := fmt.Sprint(cells[3], " ", cells[4], " ", cells[5], " ", cells[6], " ", cells[7], " ", cells[8]); shown != want {
				t.Errorf("row %d: %s, want %s", i, shown, want)
			}
			var object struct {
				metav1.TypeMeta
				Metadata struct{ Name string }
			}
			_ = json.Unmarshal(got.Rows[i].Object.Raw, &object)
			if object.Kind != tt.object || tt.object != "" && object.Metadata.Name != p.entries[i].Name() {
				t.Errorf("%s: the object of row %d is %s", tt.path, i, got.Rows[i].Object.Raw)
			}
		}
	}
	if w := ask(t, p, "GET", credential.Path+"/"+never.Name(), table); !strings.Contains(w.Body.String(), `"kind":"Table"`) || strings.Count(w.Body.String(), never.Name()) == 0 {
		t.Errorf("one as a table: %s", w.Body)
	}
}

func TestGet(t *testing.T) {
	p := &pages{entries: []*register.Entry{entry(1)}}
	w := ask(t, p, "GET", credential.Path+"/"+entry(1).Name(), "")
	var got register.Credential
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.Name != entry(1).Name() || got.ResourceVersion != "5" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRefuses(t *testing.T) {
	broken := errors.New("etcd: no leader at 10.0.0.1")
	for _, tt := range []struct {
		name, method, path, accept string
		err                        error
		code                       int
		say                        string
	}{
		{"no such entry", "GET", credential.Path + "/x", "", nil, 404, `credentials.gatehouse.dev \"x\" not found`},
		{"create", "POST", credential.Path, "", nil, 405, "not supported"},
		{"update", "PUT", credential.Path + "/x", "", nil, 405, "not supported"},
		{"delete", "DELETE", credential.Path + "/x", "", nil, 405, "not supported"},
		{"delete all", "DELETE", credential.Path, "", nil, 405, "not supported"},
		{"watch", "GET", credential.Path + "?watch=1", "", nil, 405, "watch"},
		{"watch one", "GET", credential.Path + "/x?watch=true", "", nil, 405, "watch"},
		{"protobuf", "GET", credential.Path, "application/vnd.kubernetes.protobuf", nil, 406, "application/json"},
		{"an old table", "GET", credential.Path, "application/json;as=Table;v=v1beta1;g=meta.k8s.io", nil, 406, "application/json"},
		{"another form", "GET", credential.Path, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", nil, 406, "application/json"},
		{"unknown field", "GET", credential.Path + "?fieldSelector=spec.x%3Dy", "", nil, 400, "field label not supported"},
		{"bad field selector", "GET", credential.Path + "?fieldSelector=x", "", nil, 400, "fieldSelector"},
		{"bad time", "GET", credential.Path + "?fieldSelector=status.expiringBefore%3Dsoon", "", nil, 400, "write it as 7d"},
		{"bad label selector", "GET", credential.Path + "?labelSelector=,,", "", nil, 400, "labelSelector"},
		{"bad limit", "GET", credential.Path + "?limit=many", "", nil, 400, "no number"},
		{"negative limit", "GET", credential.Path + "?limit=-1", "", nil, 400, "no number"},
		{"a moment of before", "GET", credential.Path + "?resourceVersion=5&resourceVersionMatch=Exact", "", nil, 400, "Exact"},
		{"bad continue", "GET", credential.Path + "?continue=x", "", register.ErrContinue, 400, "continue token"},
		{"forgotten", "GET", credential.Path + "?continue=x", "", fmt.Errorf("x: %w", ledger.ErrGone), 410, "begin it anew"},
		{"a store that fails", "GET", credential.Path, "", broken, 503, "could not be read"},
		{"a store that fails for one", "GET", credential.Path + "/x", "", broken, 503, "could not be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(t, &pages{err: tt.err}, tt.method, tt.path, tt.accept)
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.say) || !strings.Contains(w.Body.String(), `"kind":"Status"`) || strings.Contains(w.Body.String(), "10.0.0.1") {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, tt.code, tt.say)
			}
		})
	}
}

// An answer that cannot be finished does not look as if it were.
func TestCutOff(t *testing.T) {
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("ended with %v", got)
		}
	}()
	ask(t, &pages{entries: []*register.Entry{entry(1)}, err: errors.New("gone")}, "GET", credential.Path, "")
}
