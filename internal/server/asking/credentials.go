package asking

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/fields"

	"gatehouse.dev/gatehouse/internal/api/credential"
	"gatehouse.dev/gatehouse/internal/register"
)

// listPart is how many credentials are asked for at once.
const listPart = 500

// Credentials calls show with the registered credentials that a selector chooses,
// a part at a time, in the order in which they end.
func (a *Asker) Credentials(ctx context.Context, selector fields.Selector, show func([]register.Credential) error) error {
	s, err := a.reach()
	if err != nil {
		return fmt.Errorf("listing credentials: %w", err)
	}
	defer s.client.CloseIdleConnections()
	asked := url.Values{"limit": {strconv.Itoa(listPart)}}
	if !selector.Empty() {
		asked.Set("fieldSelector", selector.String())
	}
	for {
		var part register.CredentialList
		if err := s.ask(ctx, http.MethodGet, credential.Path+"?"+asked.Encode(), nil, &part); err != nil {
			return fmt.Errorf("listing credentials: %w", err)
		}
		if len(part.Items) > 0 {
			if err := show(part.Items); err != nil {
				return err
			}
		}
		if part.Continue == "" {
			return nil
		}
		asked.Set("continue", part.Continue)
	}
}

// Credential returns one registered credential, by the name of its entry or by its
// credential ID.
func (a *Asker) Credential(ctx context.Context, name string) (*register.Credential, error) {
	if jti, ok := strings.CutPrefix(name, "JTI="); ok {
		name = "jti-" + jti
	}
	if !strings.HasPrefix(name, "X509SHA256=") {
		var found register.Credential
		if err := a.ask(ctx, http.MethodGet, credential.Path+"/"+url.PathEscape(name), nil, &found); err != nil {
			return nil, fmt.Errorf("getting a credential: %w", err)
		}
		return &found, nil
	}
	// A fingerprint is no name: its certificate may have another one.
	var found *register.Credential
	err := a.Credentials(ctx, fields.OneTermEqualSelector(register.FieldID, name), func(some []register.Credential) error {
		found = &some[0]
		return nil
	})
	if err == nil && found == nil {
		err = &Refusal{Code: http.StatusNotFound, Message: fmt.Sprintf("getting a credential: none with the ID %s was issued here, or it has ended", name)}
	}
	return found, err
}
