package asking

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

const revocations = "/apis/" + v1alpha1.Group + "/" + v1alpha1.Version + "/revocations"

// Revoke creates a Revocation and returns it as it is in force, or, if it is only
// to be rehearsed, as it would be.
func (a *Asker) Revoke(ctx context.Context, r *v1alpha1.Revocation, rehearse bool) (*v1alpha1.Revocation, error) {
	r.APIVersion, r.Kind = v1alpha1.GroupVersion().String(), "Revocation"
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("revoking: %w", err)
	}
	path := revocations + "?fieldValidation=Strict"
	if rehearse {
		path += "&dryRun=All"
	}
	var out v1alpha1.Revocation
	if err := a.ask(ctx, http.MethodPost, path, body, &out); err != nil {
		return nil, fmt.Errorf("revoking: %w", err)
	}
	return &out, nil
}
