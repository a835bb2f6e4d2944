package server_test

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/delegation"
)

// Where a process is killed.
const (
	before = "before" // an entry is written
	after  = "after"  // an entry is written
	// signed is when an answer with a token is about to leave, or the external
	// signer has signed one.
	signed = "signed"
	// full is a while after an entry could not be written, and asked a while after
	// something was asked for.
	full, asked = "full", "asked"
)

// A step is where a process is killed: at an entry that has a mark in its name or
// value, or at what was signed.
type step struct {
	name, mark, at string
	// most is how many times it is passed at most before that, and skip how many
	// times it is passed by something else that comes first.
	most, skip int
	// external has an external program sign tokens.
	external bool
}

const (
	ownSigner = "example.com/workload"
	// administrators is the mark of what the server issues to its administrator,
	// and owners of what the owner of the data directory issues without it.
	administrators = "gatehouse:admins"
	owners         = "gatehouse-emergency-"
	responders     = "OCSP responder"
)

// steps are all that issue something, twice: before it is written down, and after.
func steps() []step {
	// One name is the beginning of another.
	const client = certificatesv1.KubeAPIServerClientSignerName + `"`
	all := []step{
		{name: "token, signed and not answered", at: signed, most: 60},
		{name: "token of an external signer, signed and not answered", at: signed, most: 60, external: true},
		{name: "administrator, the store being full", mark: administrators, at: full, most: 40},
		{name: "owner of the data directory, while he asks", mark: owners, at: asked, most: 80},
	}
	for _, s := range []step{
		{name: "token", mark: "jti-", most: 30},
		{name: "token of an external signer", mark: "jti-", most: 30, external: true},
		{name: "token of a Secret", mark: "jws-", most: 1},
		{name: "certificate of a client", mark: client, most: 1},
		{name: "certificate that is renewed", mark: client, most: 1, skip: 1},
		{name: "certificate of a kubelet", mark: certificatesv1.KubeAPIServerClientKubeletSignerName, most: 1},
		{name: "serving certificate of a kubelet", mark: certificatesv1.KubeletServingSignerName, most: 1},
		{name: "certificate of an own signer", mark: ownSigner, most: 1},
		{name: "responder for certificates", mark: responders, most: 1},
		{name: "administrator", mark: administrators, most: 3},
		{name: "owner of the data directory", mark: owners, most: 1},
	} {
		for _, at := range []string{before, after} {
			s.at = at
			all = append(all, s)
			all[len(all)-1].name += ", " + at + " its entry"
		}
	}
	return all
}

// TestNothingIsIssuedThatTheRegisterDoesNotKnow kills a server, by kill -9, at
// every step of issuing, again and again on the same data directory. Whatever
// anybody has got, and whatever was signed, is in the register afterwards.
func TestNothingIsIssuedThatTheRegisterDoesNotKnow(t *testing.T) {
	if testing.Short() {
		t.Skip("starts dozens of servers")
	}
	rounds := 1
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		rounds = 30
	}
	for _, s := range steps() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			v := &victim{dir: filepath.Join(t.TempDir(), "data"), step: s, issued: map[string]string{}}
			for round := range rounds {
				v.crash(t, round)
			}
			again, stop := serve(t, configureCrash(v.dir))
			defer stop()
			if err := again.WriteAdminKubeconfig(); err != nil {
				t.Fatal(err)
			}
			if err := v.check(t, again.AdminKubeconfig()); err != nil {
				t.Fatal(err)
			}
			t.Logf("killed %d times; %d credentials that somebody has are in the register", rounds, v.known)
			if rounds > 1 && v.known < 2 {
				t.Error("that is too few")
			}
		})
	}
}

// A victim is a server that is killed and started again.
type victim struct {
	dir  string
	step step
	// issued are the names of entries that the register has to have, and what
	// they are of.
	issued map[string]string
	known  int
}

// file returns the path of a file beside the data directory.
func (v *victim) file(name string) string { return filepath.Join(v.dir, "..", name) }

// crash runs the server until it is killed. When it serves, it has to know what
// was issued before.
func (v *victim) crash(t *testing.T, round int) {
	told, err := json.Marshal(orders{Dir: v.dir, Mark: v.step.mark, At: v.step.at, External: v.step.external,
		Passed: v.step.skip + (7+11*round)%v.step.most})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeUntilKilled$", "-test.v")
	child.Env = append(os.Environ(), crashEnv+"="+string(told))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if kubeconfig, ready := strings.CutPrefix(lines.Text(), "ready "); ready {
			(&beggar{t: t, victim: v, round: round}).askUntilGone(kubeconfig)
		}
	}
	err = child.Wait()
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v\n%s", err, &said)
	}
}

// check holds the register to what was issued and was not looked for yet. It is
// an error that the server is gone before all was looked for.
func (v *victim) check(t *testing.T, kubeconfig string) error {
	t.Helper()
	b := &beggar{t: t, victim: v}
	b.url, b.client = way(t, kubeconfig)
	if err := v.collect(b); err != nil {
		return err
	}
	for name, of := range v.issued {
		// What is issued without the server waits to be taken into the register.
		_, waits := os.Stat(filepath.Join(v.dir, "issued", name+".json"))
		err := b.send("GET", "/apis/gatehouse.dev/v1alpha1/credentials/"+name, nil, nil)
		if _, answered := errors.AsType[*refusal](err); answered {
			if waits == nil {
				continue
			}
			t.Errorf("the register does not know %s, %s, that was issued: %v", name, of, err)
		} else if err != nil {
			return err
		}
		delete(v.issued, name)
		v.known++
	}
	return nil
}

// collect finds what is issued and is not only with those who asked for it.
func (v *victim) collect(b *beggar) error {
	b.t.Helper()
	if text, err := os.ReadFile(v.file("signed")); err == nil {
		for line := range strings.Lines(string(text)) {
			// One that was only begun is nobody's.
			if token, whole := strings.CutSuffix(line, "\n"); whole {
				v.issued["jti-"+jtiOf(b.t, token)] = "a token"
			}
		}
		if err := os.Remove(v.file("signed")); err != nil {
			b.t.Fatal(err)
		}
	}
	kubeconfigs := []string{filepath.Join(v.dir, "admin.kubeconfig")}
	for _, pattern := range []string{"owner-*/kubeconfig", "owner-*/webhooks/" + delegation.TokenReview} {
		found, err := filepath.Glob(v.file(pattern))
		if err != nil {
			b.t.Fatal(err)
		}
		kubeconfigs = append(kubeconfigs, found...)
	}
	for _, path := range kubeconfigs {
		if cert := certificateIn(b.t, path); cert != nil {
			v.issued[entryOf(b.t, cert.Raw)] = "the certificate in " + path
		}
	}
	var secrets corev1.SecretList
	var requested certificatesv1.CertificateSigningRequestList
	if err := errors.Join(b.send("GET", "/api/v1/secrets", nil, &secrets), b.send("GET", requests, nil, &requested)); err != nil {
		return err
	}
	for _, held := range secrets.Items {
		if token := string(held.Data[corev1.ServiceAccountTokenKey]); token != "" {
			sum := sha256.Sum256([]byte(token[:strings.LastIndex(token, ".")]))
			v.issued["jws-"+hex.EncodeToString(sum[:])] = "the token of a Secret"
		}
	}
	for _, r := range requested.Items {
		if block, _ := pem.Decode(r.Status.Certificate); block != nil {
			v.issued[entryOf(b.t, block.Bytes)] = "the certificate of the request " + r.Name
		}
	}
	return nil
}

// entryOf returns the name of the entry of a certificate.
func entryOf(t *testing.T, der []byte) string {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawTBSCertificate)
	return "x509-" + hex.EncodeToString(sum[:])
}

func jtiOf(t *testing.T, token string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ JTI string }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.JTI == "" {
		t.Fatalf("no jti in %s: %v", payload, err)
	}
	return claims.JTI
}

// certificateIn returns the client certificate of a kubeconfig, or nil if there is
// no such file.
func certificateIn(t *testing.T, kubeconfig string) *x509.Certificate {
	t.Helper()
	cfg, err := clientcmd.LoadFromFile(kubeconfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range cfg.AuthInfos {
		block, _ := pem.Decode(user.ClientCertificateData)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	return nil
}
