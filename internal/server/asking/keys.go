package asking

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	api "gatehouse.dev/gatehouse/internal/server"
)

// Keys returns the signing keys of the server's store.
func (a *Asker) Keys(ctx context.Context) (*api.SigningKeys, error) {
	return a.keys(ctx, "asking for the signing keys", http.MethodGet, api.KeysPath, nil)
}

// RotateKeys has another key sign. The answer has that key.
func (a *Asker) RotateKeys(ctx context.Context, r api.KeyRotation) (*api.SigningKeys, error) {
	return a.keys(ctx, "rotating the signing keys", http.MethodPost, api.KeysPath+"/rotate", r)
}

// RetireKey ends a key. The answer has that key.
func (a *Asker) RetireKey(ctx context.Context, r api.KeyRetirement) (*api.SigningKeys, error) {
	return a.keys(ctx, "retiring a signing key", http.MethodPost, api.KeysPath+"/retire", r)
}

func (a *Asker) keys(ctx context.Context, doing, method, path string, asked any) (*api.SigningKeys, error) {
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	var keys api.SigningKeys
	if err := a.ask(ctx, method, path, body, &keys); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return &keys, nil
}
