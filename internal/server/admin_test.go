package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/server"
)

// way returns how a kubeconfig reaches its server.
func way(t *testing.T, kubeconfig string) (url string, client *http.Client) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = rest.HTTPClientFor(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return cfg.Host, client
}

// call sends body, if it is not nil, and decodes the answer into out.
func call(t *testing.T, kubeconfig, method, path string, body, out any) int {
	t.Helper()
	url, client := way(t, kubeconfig)
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url+path, &sent)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return resp.StatusCode
}

const selfReviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

// The owner of the data directory gets in, also where the server has never
// written an administrator's kubeconfig, and that is written down.
func TestEmergency(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	serve(t, configure(dir))
	owner, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	e := server.Emergency{DataDir: dir, Output: filepath.Join(t.TempDir(), "way-in"), Lifetime: time.Hour}
	if err := e.Write(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(e.Output); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig: %v, %v", info.Mode(), err)
	}
	var who authenticationv1.SelfSubjectReview
	code := call(t, e.Output, "POST", selfReviews, &who, &who)
	if name := "gatehouse-emergency-" + owner.Username; code != 201 || who.Status.UserInfo.Username != name {
		t.Errorf("answered %d to %+v, want %s", code, who.Status.UserInfo, name)
	}
	if want := []string{"gatehouse:admins", "system:authenticated"}; !slices.Equal(who.Status.UserInfo.Groups, want) {
		t.Errorf("groups %q, want %q", who.Status.UserInfo.Groups, want)
	}
	if code := call(t, e.Output, "GET", "/api/v1/secrets", nil, nil); code != 200 {
		t.Errorf("listing Secrets: %d", code)
	}
	text, err := os.ReadFile(filepath.Join(dir, "admin-audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var event auditv1.Event
	if err := json.Unmarshal(text, &event); err != nil || event.User.Username != owner.Username ||
		event.Annotations["authentication.gatehouse.dev/issued"] != who.Status.UserInfo.Username || event.Annotations["authentication.gatehouse.dev/until"] == "" {
		t.Errorf("written down: %s (%v)", text, err)
	}
	if strings.Contains(string(text), "PRIVATE") {
		t.Errorf("a key in %s", text)
	}
}

func TestRefusedEmergency(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := serve(t, configure(dir))
	stop()
	for _, tt := range []struct {
		name  string
		spoil func(*testing.T, *server.Emergency)
		says  string
	}{
		{"no directory", func(_ *testing.T, e *server.Emergency) { e.DataDir += "-no" }, "holds no authority"},
		{"no authority", func(t *testing.T, e *server.Emergency) { e.DataDir = t.TempDir() }, "holds no authority"},
		{"no address", func(t *testing.T, e *server.Emergency) {
			if err := os.Remove(filepath.Join(e.DataDir, "endpoint")); err != nil {
				t.Fatal(err)
			}
		}, "give --server"},
		{"cannot be written down", func(t *testing.T, e *server.Emergency) {
			e.Server = "https://127.0.0.1:1"
			if err := os.Mkdir(filepath.Join(e.DataDir, "admin-audit.log"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "opening audit log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := server.Emergency{DataDir: dir, Output: filepath.Join(t.TempDir(), "way-in"), Lifetime: time.Hour}
			tt.spoil(t, &e)
			if err := e.Write(); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
			if _, err := os.Stat(e.Output); err == nil {
				t.Error("the kubeconfig was written all the same")
			}
		})
	}
}

// A binding is judged by what its role allows now: the index hears of a change
// a moment later.
func TestRoleRulesAreLive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, _ := serve(t, configure(dir))
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	const roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
	role := rbacv1.ClusterRole{}
	role.Name = "grows"
	if code := call(t, s.AdminKubeconfig(), "POST", roles, &role, &role); code != 201 {
		t.Fatalf("creating the role: %d", code)
	}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "grows"}
	for n := 1; n <= 50; n++ {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}})
		if code := call(t, s.AdminKubeconfig(), "PUT", roles+"/grows", &role, &role); code != 200 {
			t.Fatalf("updating the role: %d", code)
		}
		rules, err := server.Policy(s).RoleRules(ref, "")
		if err != nil || len(rules) != n {
			t.Fatalf("%d rules (%v) right after the role got %d", len(rules), err, n)
		}
	}
	ref.Name = "no"
	if _, err := server.Policy(s).RoleRules(ref, ""); err == nil {
		t.Error("a role that is not there has rules")
	}
}
