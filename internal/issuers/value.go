package issuers

import (
	"encoding/json"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/lazy"

	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/identity"
)

// claimsValue is the variable claims of an expression. A claim is decoded when
// an expression first reads it, and then for all of them.
func claimsValue(c *jwt.Claims) *lazy.MapValue {
	value := lazy.NewMapValue(types.NewObjectType("kubernetes.claims"))
	for name, text := range c.All() {
		value.Append(name, func(*lazy.MapValue) ref.Val {
			var decoded any
			if err := json.Unmarshal(text, &decoded); err != nil {
				return types.NewErr("claim %q failed to unmarshal: %w", name, err)
			}
			return adapt(decoded)
		})
	}
	return value
}

// userValue is the variable user of an expression.
func userValue(who *identity.Identity) *lazy.MapValue {
	value := lazy.NewMapValue(types.NewObjectType("kubernetes.UserInfo"))
	for name, field := range map[string]any{
		"username": who.Name, "uid": who.UID, "groups": who.Groups, "extra": who.Extra,
	} {
		value.Append(name, func(*lazy.MapValue) ref.Val { return adapt(field) })
	}
	return value
}

// adapt returns a Go value for expressions.
func adapt(v any) ref.Val { return named(types.DefaultTypeAdapter.NativeToValue(v)) }

// named lets a member whose name is no identifier be read by its escaped name,
// such as claims.example__dot__org, on every level below v.
func named(v ref.Val) ref.Val {
	switch v := v.(type) {
	case traits.Mapper:
		return namedMap{v}
	case traits.Lister:
		return namedList{v}
	}
	return v
}

type namedMap struct{ traits.Mapper }

func (m namedMap) Find(key ref.Val) (ref.Val, bool) {
	if escaped, ok := key.(types.String); ok {
		if name, ok := cel.Unescape(string(escaped)); ok {
			key = types.String(name)
		}
	}
	v, ok := m.Mapper.Find(key)
	return named(v), ok
}

type namedList struct{ traits.Lister }

func (l namedList) Get(index ref.Val) ref.Val { return named(l.Lister.Get(index)) }
