package issuers

import (
	"strings"

	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/parser"
	"k8s.io/apiserver/pkg/cel"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/identity"
)

// claimSources is the claim with the addresses of claims that are kept elsewhere,
// and with what opens them.
const claimSources = "_claim_sources"

// A reading is what an expression may read: the claims, or the user that was made
// of them.
type reading struct {
	claims *jwt.Claims // or nil
	who    *identity.Identity
}

func claimsRead(c *jwt.Claims) reading { return reading{claims: c} }

func userRead(who *identity.Identity) reading { return reading{who: who} }

func (r reading) variable() string {
	if r.claims != nil {
		return "claims"
	}
	return "user"
}

// value returns what a member is, for the operator.
func (r reading) value(name string) string {
	switch {
	case r.claims != nil && name == claimSources:
	case r.claims != nil && r.claims.Raw(name) == nil:
		return "absent"
	case r.claims != nil:
		return string(r.claims.Raw(name))
	case name == "username":
		return r.who.Name
	case name == "uid":
		return r.who.UID
	case name == "groups":
		return authn.List(r.who.Groups)
	}
	return "not shown"
}

// unmet returns err with the expression that it is about, what that has read, and
// what came of it.
func unmet(err error, what, got, expression string, from reading) error {
	return authn.Explained(err, authn.Unsuitable, func() authn.Facts {
		var checks []authn.Check
		for _, name := range membersIn(expression, from.variable()) {
			checks = append(checks, authn.Check{What: from.variable() + "." + name, Got: from.value(name), OK: true})
		}
		return authn.Facts{Checks: append(checks, authn.Check{What: what, Got: got, Want: expression})}
	})
}

// failed is unmet for one of some expressions, the one that could not be
// evaluated. Its error, which is the library's, quotes it.
func failed(err error, what string, expressions []string, from reading) error {
	for _, e := range expressions {
		if len(expressions) == 1 || strings.Contains(err.Error(), "expression '"+e+"' resulted in error") {
			return unmet(err, what, err.Error(), e, from)
		}
	}
	return err
}

// membersIn returns the members of a variable that an expression reads, each
// once, as variable.member or variable["member"].
func membersIn(expression, variable string) (names []string) {
	p, err := parser.NewParser(parser.Macros(parser.AllMacros...), parser.EnableOptionalSyntax(true))
	if err != nil {
		return nil
	}
	tree, problems := p.Parse(common.NewTextSource(expression))
	if len(problems.GetErrors()) > 0 {
		return nil
	}
	known := map[string]bool{}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		name, ok := memberOf(e, variable)
		if ok && !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}))
	return names
}

func memberOf(e ast.Expr, variable string) (string, bool) {
	is := func(of ast.Expr) bool { return of.Kind() == ast.IdentKind && of.AsIdent() == variable }
	switch e.Kind() {
	case ast.SelectKind:
		if s := e.AsSelect(); is(s.Operand()) {
			return unescaped(s.FieldName()), true
		}
	case ast.CallKind:
		args := e.AsCall().Args()
		if len(args) != 2 || !is(args[0]) || args[1].Kind() != ast.LiteralKind {
			return "", false
		}
		name, ok := args[1].AsLiteral().(types.String)
		return unescaped(string(name)), ok
	}
	return "", false
}

// unescaped returns the name that is written as an identifier, such as
// example__dot__org.
func unescaped(name string) string {
	if plain, ok := cel.Unescape(name); ok {
		return plain
	}
	return name
}
