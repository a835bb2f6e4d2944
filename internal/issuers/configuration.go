package issuers

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"

	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/internal/pki"
)

// maxFile is the largest configuration, in bytes, that is read.
const maxFile = 1 << 20

// all are the algorithms that Kubernetes accepts of the issuers in a file
// (k8s.io/apiserver plugin/pkg/authenticator/token/oidc).
func all() []string {
	return []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
}

// Algorithms returns every algorithm that tokens may be signed with, and those
// that Kubernetes accepts of the issuers in a file.
func Algorithms() (known, byDefault []string) { return append(all(), compact.EdDSA), all() }

// A Document is an AuthenticationConfiguration that was read, checked and
// compiled.
type Document struct {
	// Anonymous is what it says about requests without a credential, or nil.
	Anonymous *Anonymous

	digest  [sha256.Size]byte
	text    []byte
	issuers []issuer
}

// Anonymous says which requests without a credential are served.
type Anonymous struct {
	Enabled bool
	// Paths are those that may be asked for, or none if all may.
	Paths []string
}

// An issuer is one entry of jwt, with its expressions.
type issuer struct {
	spec        apiserver.JWTAuthenticator
	expressions authenticationcel.CELMapper
}

// Problems are everything that is wrong with a configuration, each with its
// path.
type Problems []error

func (p Problems) Error() string { return errors.Join(p...).Error() }

// Unwrap returns the single problems.
func (p Problems) Unwrap() []error { return p }

// Parse reads an AuthenticationConfiguration (apiserver.config.k8s.io v1,
// v1beta1 or v1alpha1) as kube-apiserver does: strictly, and with its own
// validation. Disallowed are the issuers that it may not name, which are the
// server's own. Where the text is good but says something wrong, the error is
// of type [Problems].
func Parse(text []byte, disallowed []string) (*Document, error) {
	if len(text) > maxFile {
		return nil, errors.New("the configuration is longer than 1 MiB")
	}
	if len(text) == 0 {
		return nil, errors.New("the configuration is empty")
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	obj, err := runtime.Decode(codecs.UniversalDecoder(), text)
	if err != nil {
		return nil, err
	}
	spec, ok := obj.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("expected AuthenticationConfiguration, got %T", obj)
	}
	doc, err := compile(spec, disallowed)
	if err != nil {
		return nil, err
	}
	doc.digest, doc.text = sha256.Sum256(text), text
	return doc, nil
}

// compile checks what the configuration says, and compiles its expressions.
func compile(spec *apiserver.AuthenticationConfiguration, disallowed []string) (*Document, error) {
	compiler := authenticationcel.NewDefaultCompiler()
	problems := validation.ValidateAuthenticationConfiguration(compiler, spec, disallowed)
	doc := &Document{}
	for n, each := range spec.JWT {
		if each.Issuer.EgressSelectorType != "" {
			problems = append(problems, field.Forbidden(field.NewPath("jwt").Index(n).Child("issuer", "egressSelectorType"),
				"this server has no egress selector: it reaches every issuer by the network of its machine"))
		}
		if len(problems) > 0 {
			continue
		}
		expressions, again := validation.CompileAndValidateJWTAuthenticator(compiler, each, disallowed)
		problems = append(problems, again...)
		doc.issuers = append(doc.issuers, issuer{each, expressions})
	}
	if len(problems) > 0 {
		var errs Problems
		for _, p := range problems {
			errs = append(errs, p)
		}
		return nil, errs
	}
	if a := spec.Anonymous; a != nil {
		doc.Anonymous = &Anonymous{Enabled: a.Enabled}
		for _, c := range a.Conditions {
			doc.Anonymous.Paths = append(doc.Anonymous.Paths, c.Path)
		}
	}
	return doc, nil
}

// same reports whether a and b say the same about anonymous requests.
func (a *Anonymous) same(b *Anonymous) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Enabled == b.Enabled && slices.Equal(a.Paths, b.Paths)
}

// Flags are the --oidc flags of kube-apiserver, which describe one issuer.
type Flags struct {
	IssuerURL, ClientID, CAFile   string
	UsernameClaim, UsernamePrefix string
	GroupsClaim, GroupsPrefix     string
	// SigningAlgs are the algorithms of its tokens.
	SigningAlgs []string
	// RequiredClaims are claims and their values, as CLAIM=VALUE.
	RequiredClaims []string
}

// document returns what the flags say in the form of a file (kube-apiserver's
// pkg/kubeapiserver/options/authentication.go). CA is what is in CAFile.
func (f *Flags) document(ca []byte, disallowed []string) (*Document, error) {
	known, _ := Algorithms()
	for _, alg := range f.SigningAlgs {
		if !slices.Contains(known, alg) {
			return nil, fmt.Errorf("unsupported signing alg: %q", alg)
		}
	}
	prefix := f.UsernamePrefix
	switch {
	case prefix == "-":
		prefix = ""
	case prefix == "" && f.UsernameClaim != "email":
		// Names of two issuers must not be confused; addresses are not.
		prefix = f.IssuerURL + "#"
	}
	spec := apiserver.JWTAuthenticator{
		Issuer: apiserver.Issuer{URL: f.IssuerURL, Audiences: []string{f.ClientID}},
		ClaimMappings: apiserver.ClaimMappings{
			Username: apiserver.PrefixedClaimOrExpression{Claim: f.UsernameClaim, Prefix: &prefix},
		},
	}
	if f.GroupsClaim != "" {
		spec.ClaimMappings.Groups = apiserver.PrefixedClaimOrExpression{Claim: f.GroupsClaim, Prefix: &f.GroupsPrefix}
	}
	if f.CAFile != "" {
		// An empty one would stand for all that the machine trusts.
		if _, err := pki.ParseCertificates(ca); err != nil {
			return nil, err
		}
		spec.Issuer.CertificateAuthority = string(ca)
	}
	required := map[string]string{}
	for _, r := range f.RequiredClaims {
		name, value, ok := strings.Cut(r, "=")
		if !ok {
			return nil, fmt.Errorf("required claim %q is not of the form CLAIM=VALUE", r)
		}
		required[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	for name, value := range required {
		spec.ClaimValidationRules = append(spec.ClaimValidationRules, apiserver.ClaimValidationRule{Claim: name, RequiredValue: value})
	}
	doc, err := compile(&apiserver.AuthenticationConfiguration{JWT: []apiserver.JWTAuthenticator{spec}}, disallowed)
	if err != nil {
		return nil, err
	}
	doc.digest = sha256.Sum256(ca)
	return doc, nil
}
