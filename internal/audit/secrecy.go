package audit

import (
	"encoding/json"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// accessToken is the query parameter of RFC 6750 section 2.3. We take no token
// from there, but callers put them there.
const accessToken = "access_token"

// A discreet backend takes secrets out of events before anything keeps them. It
// is the only way from here to a backend.
type discreet struct{ audit.Backend }

func (d discreet) ProcessEvents(events ...*auditinternal.Event) bool {
	clean := make([]*auditinternal.Event, len(events))
	for i, e := range events {
		clean[i] = withoutSecrets(e)
	}
	return d.Backend.ProcessEvents(clean...)
}

// withoutSecrets returns e, or a copy of it without the secrets that e has. It
// does not change e.
func withoutSecrets(e *auditinternal.Event) *auditinternal.Event {
	section, secrets := tokenSection(e.ObjectRef), ofSecrets(e.ObjectRef)
	uri := hideAccessToken(e.RequestURI)
	if section == "" && !secrets && uri == e.RequestURI {
		return e
	}
	c := *e
	c.RequestURI = uri
	switch {
	case section != "":
		c.RequestObject = hideToken(e.RequestObject, section)
		c.ResponseObject = hideToken(e.ResponseObject, section)
	case secrets:
		c.RequestObject = hideValues(e.RequestObject)
		c.ResponseObject = hideValues(e.ResponseObject)
		c.ResponseStatus = withoutQuotes(e.ResponseStatus)
	}
	return &c
}

// tokenSection returns where in the object that ref refers to a field named
// token holds a secret: "spec" for a TokenReview, "status" for a TokenRequest,
// and "" for everything else.
func tokenSection(ref *auditinternal.ObjectReference) string {
	switch {
	case ref == nil:
		return ""
	case ref.APIGroup == "authentication.k8s.io" && ref.Resource == "tokenreviews":
		return "spec"
	case ref.APIGroup == "" && ref.Resource == "serviceaccounts" && ref.Subresource == "token":
		return "status"
	}
	return ""
}

// hideToken returns object with the field token of section replaced. An object
// that cannot be understood is left out altogether.
func hideToken(object *runtime.Unknown, section string) *runtime.Unknown {
	if object == nil {
		return nil
	}
	var all, part map[string]json.RawMessage
	if json.Unmarshal(object.Raw, &all) != nil {
		return nil
	}
	if all[section] == nil {
		return object
	}
	if json.Unmarshal(all[section], &part) != nil {
		return nil
	}
	if token := string(part["token"]); token == "" || token == `""` {
		return object
	}
	part["token"] = json.RawMessage(`"` + redacted + `"`)
	raw, err := json.Marshal(part)
	if err != nil {
		return nil
	}
	all[section] = raw
	if raw, err = json.Marshal(all); err != nil {
		return nil
	}
	hidden := *object
	hidden.Raw = raw
	return &hidden
}

// hideAccessToken returns uri with the values of all access_token parameters
// replaced, however their name is escaped, and all else as it was.
func hideAccessToken(uri string) string {
	path, query, found := strings.Cut(uri, "?")
	if !found {
		return uri
	}
	pairs := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	changed := false
	for i, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil && strings.EqualFold(name, accessToken) {
			pairs[i], changed = key+"="+redacted, true
		}
	}
	if !changed {
		return uri
	}
	return path + "?" + strings.Join(pairs, "&")
}
