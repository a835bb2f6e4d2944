package authn

import "context"

type rehearsalKey struct{}

// Rehearsal returns a copy of ctx for asking what would be said of a credential
// that nobody has presented. Authenticators then send nothing anywhere, neither
// the credential nor anything about it, count nothing against anybody, and write
// nothing down. One that would have to says that it would, and refuses.
func Rehearsal(ctx context.Context) context.Context {
	return context.WithValue(ctx, rehearsalKey{}, true)
}

// IsRehearsal reports whether ctx is that of a rehearsal. It is to be asked
// where something would be sent or counted, and not on the way of each request.
func IsRehearsal(ctx context.Context) bool {
	is, _ := ctx.Value(rehearsalKey{}).(bool)
	return is
}
