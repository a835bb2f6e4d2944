package signing

import (
	"encoding/json"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/identity"
)

// AskedWithKey is the key in the extra attributes of a request under which the
// server writes the credential that its sender was let in with, and who acted as
// him. The server writes it whatever the sender says: it is what he is judged by
// when the request is approved and when it is signed, which may be days later.
const AskedWithKey = "gatehouse.dev/asked-with"

// proof is what is written of a credential: its names, and no secret.
type proof struct {
	Method     identity.Method `json:"method,omitempty"`
	Issuer     string          `json:"issuer,omitempty"`
	ID         string          `json:"id,omitempty"`
	IssuerName string          `json:"issuerName,omitempty"`
	Serial     string          `json:"serial,omitempty"`
	Digest     string          `json:"digest,omitempty"`
	KeyID      string          `json:"keyID,omitempty"`
	Issued     int64           `json:"issued,omitempty"`
	Expires    int64           `json:"expires,omitempty"`
	Above      *proof          `json:"above,omitempty"`
	Beside     *proof          `json:"beside,omitempty"`
}

// asked is what [AskedWithKey] holds.
type asked struct {
	With proof `json:"with"`
	// By is who acted as the sender, and who acted as him in turn.
	By []actor `json:"by,omitempty"`
}

type actor struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
	// IDs are those of credentials that somebody else vouches for.
	IDs []string `json:"ids,omitempty"`
}

// AskedWith returns what is written into a request of somebody.
func AskedWith(who *identity.Identity) (string, error) {
	a := asked{With: *proofOf(&who.Credential)}
	for by := who.Impersonator; by != nil; by = by.Impersonator {
		a.By = append(a.By, actor{by.Name, by.Groups, by.Extra[identity.CredentialIDKey]})
	}
	text, err := json.Marshal(a)
	return string(text), err
}

// Asker returns who sent a request, with what the server has written into it of
// his credential. Of a request without that, or with something that cannot be
// read, nothing is known of the credential but its ID: then he is judged like
// somebody who does not say when his credential was issued.
func Asker(r *certificatesv1.CertificateSigningRequest) *identity.Identity {
	who := &identity.Identity{Name: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: map[string][]string{}}
	for key, values := range r.Spec.Extra {
		if key != AskedWithKey {
			who.Extra[key] = values
		}
	}
	var a asked
	if text := r.Spec.Extra[AskedWithKey]; len(text) != 1 || json.Unmarshal([]byte(text[0]), &a) != nil {
		return who
	}
	who.Credential = *a.With.credential()
	last := who
	for _, by := range a.By {
		last.Impersonator = &identity.Identity{
			Name: by.Name, Groups: by.Groups, Extra: map[string][]string{identity.CredentialIDKey: by.IDs}, Credential: who.Credential,
		}
		last = last.Impersonator
	}
	return who
}

// Presented returns the digest ([identity.Credential.Digest]) of the client
// certificate that a request was sent with, or "". It is "" as well if its sender
// acted as somebody else, or is named by a proxy.
func Presented(r *certificatesv1.CertificateSigningRequest) string {
	who := Asker(r)
	if who.Impersonator != nil || who.Credential.Method != identity.ClientCertificate {
		return ""
	}
	return who.Credential.Digest
}

func proofOf(c *identity.Credential) *proof {
	if c == nil {
		return nil
	}
	return &proof{
		Method: c.Method, Issuer: c.Issuer, ID: c.ID, IssuerName: c.IssuerName, Serial: c.Serial, Digest: c.Digest, KeyID: c.KeyID,
		Issued: seconds(c.IssuedAt), Expires: seconds(c.ExpiresAt), Above: proofOf(c.Above), Beside: proofOf(c.Beside),
	}
}

func (p *proof) credential() *identity.Credential {
	if p == nil {
		return nil
	}
	return &identity.Credential{
		Method: p.Method, Issuer: p.Issuer, ID: p.ID, IssuerName: p.IssuerName, Serial: p.Serial, Digest: p.Digest, KeyID: p.KeyID,
		IssuedAt: moment(p.Issued), ExpiresAt: moment(p.Expires), Above: p.Above.credential(), Beside: p.Beside.credential(),
	}
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func moment(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}
