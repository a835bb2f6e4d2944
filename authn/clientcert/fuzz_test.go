package clientcert_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apiserver/pkg/authentication/group"
	upstream "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/client-go/util/cert"

	"gatehouse.dev/gatehouse/authn/clientcert"
)

// FuzzBundle reads any text as a CA file. What is accepted, Kubernetes accepts
// too, and no certificate is passed over that Kubernetes takes.
func FuzzBundle(f *testing.F) {
	root := newCA(f, "root")
	good := pemOf(root.cert)
	f.Add(good)
	f.Add(append([]byte("# text\n"), slices.Concat(good, good)...))
	f.Add(good[:len(good)/2])
	f.Add(bytes.Replace(good, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE"), 2))
	f.Add(bytes.Replace(good, []byte("-----\n"), []byte("-----\nA: b\n\n"), 1))
	path := filepath.Join(f.TempDir(), "ca.pem")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := clientcert.OpenBundle(path, nil)
		if err != nil {
			return
		}
		theirs, err := cert.ParseCertsPEM(text)
		if err != nil {
			t.Fatalf("Kubernetes says %v", err)
		}
		want := x509.NewCertPool()
		for _, c := range theirs {
			want.AddCert(c)
		}
		if !b.Pool().Equal(want) {
			t.Error("the certificates are not those that Kubernetes reads")
		}
	})
}

// FuzzSubject gives any bytes as the subject of a certificate that is good
// otherwise, and compares whom it stands for.
func FuzzSubject(f *testing.F) {
	for _, n := range []pkix.Name{
		{CommonName: "jane", Organization: []string{"a", "b"}}, uids("u-1"), uids("u-1", "u-2"), uids(""),
		{CommonName: "system:anonymous"}, {Organization: []string{"", "a"}}, {CommonName: "x", Country: []string{"DE"}, SerialNumber: "7"},
	} {
		der, err := asn1.Marshal(n.ToRDNSequence())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	root := newCA(f, "root")
	b, _ := bundle(f, nil, root.cert)
	ours := clientcert.New(b)
	opts := upstream.DefaultVerifyOptions()
	opts.Roots = b.Pool()
	theirs := group.NewAuthenticatedGroupAdder(upstream.New(opts, upstream.CommonNameUserConversion))
	f.Fuzz(func(t *testing.T, subject []byte) {
		leaf := root.issueRaw(subject)
		if leaf == nil {
			return // crypto/tls would not take it
		}
		res, err := ours.Authenticate(request(leaf))
		want, ok, _ := theirs.AuthenticateRequest(request(leaf))
		if (err == nil) != ok {
			t.Fatalf("%v, theirs %v", err, want)
		}
		if !ok {
			return
		}
		groups := slices.DeleteFunc(slices.Clone(want.User.GetGroups()), func(g string) bool { return g == "" })
		if res.Identity.Name != want.User.GetName() || res.Identity.UID != want.User.GetUID() || !slices.Equal(res.Identity.Groups, groups) {
			t.Errorf("%+v, theirs %+v", res.Identity, want.User)
		}
	})
}
