package review

import (
	"errors"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// A Client is an API server of somebody else that asks whose tokens are. It is
// told of those that count there, and of no others.
type Client struct {
	// Audiences are its own. At least one.
	Audiences []string
	// Sources are the methods and issuers whose tokens count there; without any,
	// all do.
	Sources []string
}

// notForClient is what a client is told of a token that does not count there. It
// does not say whose the token is.
const notForClient = "the token is not for this API server: see authentication.webhookClients in the configuration"

// errNotForClient is in every refusal of a token because of the client.
var errNotForClient = errors.New("it does not count for the API server that asks")

func (c *Client) refuse(method identity.Method, kind authn.Kind, mend string, checks ...authn.Check) error {
	return &authn.Refusal{Method: method, Cause: errNotForClient, Facts: authn.Facts{Kind: kind, Checks: checks, Mend: mend}}
}

// ask returns the audiences to verify a token for: those of the client that it
// asks for, which are wanted, and the server's own, which are what a token has
// that is for the server as a whole. It asks for nothing if there are none.
func (c *Client) ask(asked, own []string) (wanted, all []string, err error) {
	wanted = c.Audiences
	if len(asked) > 0 {
		wanted = authn.Intersect(asked, c.Audiences)
	}
	if len(wanted) == 0 {
		return nil, nil, c.refuse(authn.AnyBearer, authn.WrongAudience,
			"give the API server one of these audiences with --api-audiences, or name its own in authentication.webhookClients", authn.Check{
				What: "audiences that the API server asks for", Got: authn.List(asked), Want: "one of " + authn.List(c.Audiences),
			})
	}
	return wanted, slices.Concat(wanted, own), nil
}

// grant returns those of the wanted audiences that a verified token is for. A
// token that names no audience, because its source is of the server as a whole,
// is for all that the server speaks for; one that does name them is for no
// others. It refuses a token that does not count for the client.
func (c *Client) grant(result *authn.Result, wanted []string) ([]string, error) {
	credential := &result.Identity.Credential
	if len(c.Sources) > 0 && !slices.Contains(c.Sources, string(credential.Method)) &&
		(credential.Issuer == "" || !slices.Contains(c.Sources, credential.Issuer)) {
		return nil, c.refuse(credential.Method, authn.Unsuitable,
			"if tokens of this source are to count there, add it to the sources of the API server in authentication.webhookClients", authn.Check{
				What: "source", Got: strings.TrimSpace(string(credential.Method) + " " + credential.Issuer), Want: "one of " + authn.List(c.Sources),
			})
	}
	if meant := authn.Intersect(result.Audiences, wanted); len(meant) > 0 {
		return meant, nil
	}
	switch credential.Method {
	case identity.StaticToken, identity.BootstrapToken, identity.JWT:
		return wanted, nil
	}
	return nil, c.refuse(credential.Method, authn.WrongAudience,
		"get a token for one of the audiences wanted (kubectl create token --audience)", authn.AudienceCheck(result.Audiences, wanted))
}
