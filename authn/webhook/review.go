package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

const (
	group = "authentication.k8s.io/"
	kind  = "TokenReview"
	// reserved begins the names that Kubernetes keeps for itself.
	reserved = "system:"
	// maxReason is how much of a webhook's reason is told, in bytes.
	maxReason = 400
)

// A status is what an answer says.
type status = authenticationv1.TokenReviewStatus

// review returns the question about a token. The two versions do not differ in
// anything but their name.
func review(version, token string, audiences []string) []byte {
	text, err := json.Marshal(&authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{Kind: kind, APIVersion: group + version},
		Spec:     authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	})
	if err != nil {
		panic(err) // texts and lists of texts are always encoded
	}
	return text
}

// parse reads an answer. As in Kubernetes, it may leave out what it is, and may
// have members that we do not know.
func parse(text []byte, version string) (*status, error) {
	var review authenticationv1.TokenReview
	if !utf8.Valid(text) {
		return nil, errors.New("its answer is not UTF-8")
	}
	strict, err := kjson.UnmarshalStrict(text, &review, kjson.DisallowDuplicateFields)
	switch {
	case err != nil:
		// What was wrong may repeat what is in the answer, and that is not ours
		// to tell.
		return nil, errors.New("its answer is no JSON object with the members of a TokenReview")
	case len(strict) > 0:
		return nil, errors.New("its answer has a member twice")
	case review.Kind != "" && review.Kind != kind || review.APIVersion != "" && review.APIVersion != group+version:
		return nil, fmt.Errorf("its answer is a %.80q of %.80q, not a %q of %q", review.Kind, review.APIVersion, kind, group+version)
	}
	return &review.Status, nil
}

// errSaid is the cause of every refusal that the webhook gives a reason for.
var errSaid = errors.New("the webhook refuses it")

// said is what a webhook says against a token.
type said struct{ text string }

func (s *said) Error() string { return s.text }

func (*said) Unwrap() error { return errSaid }

// judge says whose the token is by what the webhook has answered, in the order of
// Kubernetes (k8s.io/apiserver plugin/pkg/authenticator/token/webhook).
func (v *Verifier) judge(s *status, token string, asked []string) (*authn.Result, error) {
	var audiences []string
	if len(asked) > 0 {
		// A webhook that says nothing of audiences does not know about them: its
		// tokens are for the server.
		meant := v.cfg.Audiences
		if len(s.Audiences) > 0 {
			meant = s.Audiences
		}
		if audiences = authn.Intersect(asked, meant); len(audiences) == 0 {
			return nil, authn.Pass(identity.Webhook, "the token is not for the audiences asked for", authn.AudienceCheck(meant, asked))
		}
	}
	switch {
	case !s.Authenticated && s.Error == "":
		return nil, authn.Pass(identity.Webhook, "the webhook does not know the token")
	case !s.Authenticated:
		return nil, &authn.Refusal{
			Method: identity.Webhook, Reason: "the webhook refuses the token", Cause: &said{reason(s.Error, token)},
			Facts: authn.Facts{Kind: authn.Other, Mend: "ask whoever runs the webhook what its reason means"},
		}
	}
	if err := v.checkNames(s); err != nil {
		return nil, err
	}
	who := &identity.Identity{
		Name: s.User.Username, UID: s.User.UID, Groups: identity.WithAuthenticated(s.User.Username, s.User.Groups),
		Credential: identity.Credential{Method: identity.Webhook},
	}
	if s.User.Extra != nil {
		who.Extra = make(map[string][]string, len(s.User.Extra))
		for key, values := range s.User.Extra {
			who.Extra[key] = values
		}
	}
	if jwt, err := compact.Parse(token); err == nil {
		who.Credential.Digest = jwt.Digest()
	}
	if ids := s.User.Extra[identity.CredentialIDKey]; len(ids) == 1 {
		who.Credential.ID = ids[0]
	}
	return &authn.Result{Identity: who, Audiences: audiences}, nil
}

// checkNames refuses who is nobody, or somebody of Kubernetes itself.
func (v *Verifier) checkNames(s *status) error {
	if s.User.Username == "" {
		return refuse(authn.Nobody, "the webhook accepts the token without saying whose it is",
			authn.Check{What: "user name", Want: "one that is not empty"}, "have the webhook fill in status.user.username")
	}
	for i, name := range append([]string{s.User.Username}, s.User.Groups...) {
		what := "group"
		if i == 0 {
			what = "user name"
		}
		// A member of it is who is let in anyway, and every API server that is
		// asked as a webhook says so.
		if i > 0 && name == identity.GroupAuthenticated {
			continue
		}
		if strings.ContainsRune(name, utf8.RuneError) {
			return refuse(authn.Unsuitable, "the webhook gives a "+what+" that is no Unicode",
				authn.Check{What: what, Got: strconv.QuoteToASCII(name), Want: "one in UTF-8"}, "have the webhook give another name")
		}
		if !v.mayName(name) {
			return &authn.Refusal{
				Method: identity.Webhook, Reason: fmt.Sprintf("the webhook gives the %s %.200q, which is reserved", what, name),
				Facts: authn.Facts{
					Kind:   authn.Reserved,
					Checks: []authn.Check{{What: what, Got: name, Want: "one that does not begin with " + reserved + ", or is allowed"}},
					Mend:   "allow the name with --authentication-token-webhook-reserved-name if the webhook may give it",
				},
			}
		}
	}
	return nil
}

// reason returns what a webhook says against a token, without the token and
// what would move the cursor of who reads it.
func reason(text, token string) string {
	if token != "" {
		text = strings.ReplaceAll(text, token, "[the token]")
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return text
}

// refuse refuses what a webhook has answered.
func refuse(kind authn.Kind, reason string, check authn.Check, mend string) error {
	return &authn.Refusal{Method: identity.Webhook, Reason: reason, Facts: authn.Facts{Kind: kind, Checks: []authn.Check{check}, Mend: mend}}
}
