package review

import (
	"slices"

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

// ask returns the audiences to verify a token for: those of the client that it
// asks for, which are wanted, and the server's own, which are what a token has
// that is for the server as a whole.
func (c *Client) ask(asked, own []string) (wanted, all []string) {
	wanted = c.Audiences
	if len(asked) > 0 {
		wanted = authn.Intersect(asked, c.Audiences)
	}
	return wanted, slices.Concat(wanted, own)
}

// grant returns those of the wanted audiences that a verified token is for. A
// token that names no audience, because its source is of the server as a whole,
// is for all that the server speaks for; one that does name them is for no
// others. It returns none if the token does not count for the client.
func (c *Client) grant(result *authn.Result, wanted []string) []string {
	credential := &result.Identity.Credential
	if len(c.Sources) > 0 && !slices.Contains(c.Sources, string(credential.Method)) &&
		(credential.Issuer == "" || !slices.Contains(c.Sources, credential.Issuer)) {
		return nil
	}
	if meant := authn.Intersect(result.Audiences, wanted); len(meant) > 0 {
		return meant
	}
	switch credential.Method {
	case identity.StaticToken, identity.BootstrapToken, identity.JWT:
		return wanted
	}
	return nil
}
