package serviceaccount

import (
	"context"
	"errors"
	"time"
)

// Resources that tokens can rest on, as [Objects] and the stripes name them.
const (
	ServiceAccounts = "serviceaccounts"
	Secrets         = "secrets"
	Pods            = "pods"
	Nodes           = "nodes"
)

// ErrNotFound is returned, wrapped or not, by [Objects] for an object that does
// not exist.
var ErrNotFound = errors.New("object not found")

// Objects knows the objects that tokens rest on.
type Objects interface {
	// Object returns what is true of one object now. It reads the store itself,
	// or what is known to be no older than the request. Namespace is empty for
	// nodes. Any error refuses the token; it wraps [ErrNotFound] if the object
	// does not exist.
	Object(ctx context.Context, resource, namespace, name string) (*Object, error)
}

// An Object is what matters of an object to the tokens that rest on it.
type Object struct {
	UID string
	// Deleted is the deletionTimestamp, or zero.
	Deleted time.Time
	// Labels are those of a Secret.
	Labels map[string]string
	// Token is the data "token" of a Secret. It is secret.
	Token []byte
	// Secrets are the names in the field secrets of a ServiceAccount.
	Secrets []string
}
