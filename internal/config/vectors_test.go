package config_test

import (
	"testing"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/test/vectors"
)

// JSON is YAML, so every text of the JSON test suite can be given for a
// configuration, alone and inside one. None is one, and each refusal tells the
// place and the mend.
func TestConfigurationsReadJSON(t *testing.T) {
	const ours = `{"apiVersion":"gatehouse.dev/v1alpha1","kind":"GatehouseConfiguration","more":`
	const issuer = `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","more":`
	for name, text := range vectors.JSON(t).Parsing {
		for _, document := range []string{string(text), ours + string(text) + "}"} {
			_, err := config.Decode("given.json", []byte(document))
			if err == nil {
				t.Errorf("%s: %.100q is accepted", name, document)
			}
			for _, p := range config.Problems(err) {
				if p.Where == "" || p.What == "" || p.Mend == "" {
					t.Errorf("%s: %.100q: problem is not complete: %+v", name, document, p)
				}
			}
		}
		for _, document := range []string{string(text), issuer + string(text) + "}"} {
			if got, err := issuers.Parse([]byte(document), nil); err == nil {
				t.Errorf("%s: %.100q is accepted as %+v", name, document, got)
			}
		}
	}
}
