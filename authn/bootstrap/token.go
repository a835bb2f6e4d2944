package bootstrap

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Where tokens are, and what marks them (k8s.io/cluster-bootstrap token/api).
const (
	// Namespace has the Secrets of all bootstrap tokens.
	Namespace = "kube-system"
	// SecretType is the type of these Secrets.
	SecretType = "bootstrap.kubernetes.io/token"
	// secretPrefix begins their names, and is followed by the ID of the token.
	secretPrefix = "bootstrap-token-"
)

// Keys of the data of a Secret.
const (
	idKey         = "token-id"
	secretKey     = "token-secret"
	expirationKey = "expiration"
	groupsKey     = "auth-extra-groups"
)

// What a token can be used for: keys of the data of its Secret that say "true".
const (
	// Authentication is to log in with it.
	Authentication = "usage-bootstrap-authentication"
	// Signing is to sign what a cluster tells of itself, so that who knows the
	// token can tell it from what somebody else says.
	Signing = "usage-bootstrap-signing"
)

const (
	idLength     = 6
	secretLength = 16
)

// Parse returns the parts of a token of the form
// [a-z0-9]{6}\.[a-z0-9]{16}, and whether it has that form.
func Parse(token string) (id, secret string, ok bool) {
	if len(token) != idLength+1+secretLength || token[idLength] != '.' {
		return "", "", false
	}
	id, secret = token[:idLength], token[idLength+1:]
	return id, secret, plain(id) && plain(secret)
}

// plain reports whether all of s are lower-case letters and digits.
func plain[T ~string | ~[]byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// SecretName returns the name of the Secret of the token with an ID.
func SecretName(id string) string { return secretPrefix + id }

// A Secret is what matters of the Secret of a token.
type Secret struct {
	Type string
	// Deleted is whether its deletion has begun.
	Deleted bool
	// Data is as in the object, and is not changed.
	Data map[string][]byte
}

// Expiration returns when the token ends, if it ever does. One whose end cannot
// be read ended at the zero time.
func (s *Secret) Expiration() (at time.Time, ends bool) {
	text := s.Data[expirationKey]
	if len(text) == 0 {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return time.Time{}, true
	}
	return at, true
}

// Expired reports whether the token has ended.
func (s *Secret) Expired(now time.Time) bool {
	at, ends := s.Expiration()
	return ends && !now.Before(at)
}

// May reports whether the token can be used for something.
func (s *Secret) May(usage string) bool { return string(s.Data[usage]) == "true" }

// Signer returns the ID and the secret of a token that may sign, now, and whose
// Secret has the given name. A secret of another form than Parse takes does not
// sign: it could be guessed from the signature, which anybody may read.
func (s *Secret) Signer(name string, now time.Time) (id string, secret []byte, ok bool) {
	id, secret = string(s.Data[idKey]), s.Data[secretKey]
	ok = s.Type == SecretType && !s.Deleted &&
		len(id) == idLength && plain(id) && name == SecretName(id) &&
		len(secret) == secretLength && plain(secret) &&
		!s.Expired(now) && s.May(Signing)
	return id, secret, ok
}

// Sign returns the JWS of content with its payload left out (RFC 7515 appendix
// F), to the byte as k8s.io/cluster-bootstrap token/jws makes it: kubeadm makes it
// again and compares. The algorithm is HS256, with the 16 bytes of a token's
// secret as the key; RFC 7518 section 3.2 asks for 32, so libraries of today
// refuse to do it.
func Sign(content, id string, secret []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	header := encode([]byte(`{"alg":"HS256","kid":"` + id + `"}`))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(header + "." + encode([]byte(content))))
	return header + ".." + encode(mac.Sum(nil))
}

// groups returns the groups of who logs in with the token, sorted. One bad name
// spoils them all.
func (s *Secret) groups() ([]string, error) {
	all := []string{defaultGroup}
	if text := s.Data[groupsKey]; len(text) > 0 {
		for n, name := range bytes.Split(text, []byte(",")) {
			if !isGroup(name) {
				return nil, fmt.Errorf("bootstrap group %d is invalid (must match %s)", n+1, groupForm)
			}
			all = append(all, string(name))
		}
	}
	slices.SortFunc(all, strings.Compare)
	return slices.Compact(all), nil
}

// defaultGroup is a group of everybody who logs in with a token.
const defaultGroup = "system:bootstrappers"

// groupForm is what the name of a further group must be like.
const groupForm = `\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`

// isGroup reports whether name matches [groupForm].
func isGroup(name []byte) bool {
	rest, ok := bytes.CutPrefix(name, []byte(defaultGroup+":"))
	if !ok || len(rest) == 0 || len(rest) > 256 || !plain(rest[len(rest)-1:]) {
		return false
	}
	for _, c := range rest {
		if c != ':' && c != '-' && !plain([]byte{c}) {
			return false
		}
	}
	return true
}
