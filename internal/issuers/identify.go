package issuers

import (
	"context"
	"errors"
	"fmt"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/cel/lazy"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/identity"
)

// identify fills in who the claims are about, in the order of Kubernetes: first
// everything is mapped, then it is judged.
func (i *issuer) identify(ctx context.Context, c *jwt.Claims, who *identity.Identity) error {
	var claims *lazy.MapValue
	if e := i.expressions; e.Username != nil || e.Groups != nil || e.UID != nil || e.Extra != nil || e.ClaimValidationRules != nil {
		claims = claimsValue(c)
	}
	for _, step := range []func(context.Context, *jwt.Claims, *lazy.MapValue, *identity.Identity) error{
		i.username, i.groups, i.uid, i.extra, i.checkClaims,
	} {
		if err := step(ctx, c, claims, who); err != nil {
			return err
		}
	}
	if rules := i.expressions.UserValidationRules; rules != nil {
		verdicts, err := rules.EvalUser(ctx, userValue(who))
		if err == nil {
			err = judge(verdicts)
		}
		if err != nil {
			return fmt.Errorf("error evaluating user info validation rule: %w", err)
		}
	}
	return nil
}

func (i *issuer) username(ctx context.Context, c *jwt.Claims, claims *lazy.MapValue, who *identity.Identity) (err error) {
	m := i.spec.ClaimMappings.Username
	if i.expressions.Username == nil {
		who.Name, err = c.Username(m.Claim, deref(m.Prefix))
		return err
	}
	if who.Name, err = text(ctx, i.expressions.Username, claims); err != nil {
		return fmt.Errorf("error evaluating username claim expression: %w", err)
	}
	if who.Name == "" {
		return errors.New("empty username via CEL expression is not allowed")
	}
	return nil
}

func (i *issuer) groups(ctx context.Context, c *jwt.Claims, claims *lazy.MapValue, who *identity.Identity) (err error) {
	m := i.spec.ClaimMappings.Groups
	switch {
	case m.Claim != "":
		who.Groups, err = c.Groups(m.Claim, deref(m.Prefix))
		return err
	case i.expressions.Groups == nil:
		return nil
	}
	result, err := i.expressions.Groups.EvalClaimMapping(ctx, claims)
	if err == nil {
		who.Groups, err = texts(result.EvalResult)
	}
	if err != nil {
		return fmt.Errorf("error evaluating group claim expression: %w", err)
	}
	return nil
}

func (i *issuer) uid(ctx context.Context, c *jwt.Claims, claims *lazy.MapValue, who *identity.Identity) (err error) {
	claim := i.spec.ClaimMappings.UID.Claim
	switch {
	case claim != "":
		if who.UID, err = c.Text(claim); err != nil {
			return fmt.Errorf("parse uid claim %q: %w", claim, err)
		}
	case i.expressions.UID != nil:
		if who.UID, err = text(ctx, i.expressions.UID, claims); err != nil {
			return fmt.Errorf("error evaluating uid claim expression: %w", err)
		}
	}
	return nil
}

func (i *issuer) extra(ctx context.Context, _ *jwt.Claims, claims *lazy.MapValue, who *identity.Identity) error {
	if i.expressions.Extra == nil {
		return nil
	}
	results, err := i.expressions.Extra.EvalClaimMappings(ctx, claims)
	if err != nil {
		return err
	}
	for _, r := range results {
		mapped, ok := r.ExpressionAccessor.(*authenticationcel.ExtraMappingExpression)
		if !ok {
			return fmt.Errorf("internal error: %T is no extra mapping", r.ExpressionAccessor)
		}
		values, err := texts(r.EvalResult)
		if err != nil {
			return fmt.Errorf("error evaluating extra claim expression: %s: %w", mapped.Expression, err)
		}
		if len(values) == 0 {
			continue
		}
		if who.Extra == nil {
			who.Extra = map[string][]string{}
		}
		who.Extra[mapped.Key] = values
	}
	return nil
}

// checkClaims applies the rules about claims: first the plain ones.
func (i *issuer) checkClaims(ctx context.Context, c *jwt.Claims, claims *lazy.MapValue, _ *identity.Identity) error {
	for _, rule := range i.spec.ClaimValidationRules {
		if rule.Claim == "" {
			continue
		}
		if err := c.Require(rule.Claim, rule.RequiredValue); err != nil {
			return err
		}
	}
	if i.expressions.ClaimValidationRules == nil {
		return nil
	}
	verdicts, err := i.expressions.ClaimValidationRules.EvalClaimMappings(ctx, claims)
	if err == nil {
		err = judge(verdicts)
	}
	if err != nil {
		return fmt.Errorf("error evaluating claim validation expression: %w", err)
	}
	return nil
}

// judge returns an error unless all rules hold.
func judge(verdicts []authenticationcel.EvaluationResult) error {
	for _, v := range verdicts {
		holds, ok := v.EvalResult.Value().(bool)
		if !ok {
			return errors.New("validation expression must return a boolean")
		}
		if holds {
			continue
		}
		var message string
		switch rule := v.ExpressionAccessor.(type) {
		case *authenticationcel.ClaimValidationCondition:
			message = rule.Message
		case *authenticationcel.UserValidationCondition:
			message = rule.Message
		}
		err := fmt.Errorf("validation expression '%s' failed: %s", v.ExpressionAccessor.GetExpression(), message)
		return authn.Explained(err, authn.Unsuitable, func() authn.Facts {
			return authn.Facts{Checks: []authn.Check{{What: "validation rule (" + message + ")", Got: "false", Want: v.ExpressionAccessor.GetExpression()}}}
		})
	}
	return nil
}

// text evaluates an expression that has to give a string.
func text(ctx context.Context, of authenticationcel.ClaimsMapper, claims *lazy.MapValue) (string, error) {
	result, err := of.EvalClaimMapping(ctx, claims)
	if err != nil {
		return "", err
	}
	if result.EvalResult.Type() != celgo.StringType {
		return "", errors.New("the expression must return a string")
	}
	return result.EvalResult.Value().(string), nil
}

var errNoTexts = errors.New("expression must return a string or a list of strings")

// texts returns a string or a list of them as a list. Null and empty strings
// count as nothing.
func texts(v ref.Val) ([]string, error) {
	var out []string
	add := func(s any) error {
		t, ok := s.(string)
		if !ok {
			return errNoTexts
		}
		if t != "" {
			out = append(out, t)
		}
		return nil
	}
	if v.Type() == celgo.NullType {
		return nil, nil
	}
	switch value := v.Value().(type) {
	case string:
		if v.Type() != celgo.StringType {
			return nil, errNoTexts
		}
		if err := add(value); err != nil {
			return nil, err
		}
	case []any:
		for _, each := range value {
			if err := add(each); err != nil {
				return nil, err
			}
		}
	case []ref.Val:
		for _, each := range value {
			if err := add(each.Value()); err != nil {
				return nil, err
			}
		}
	default:
		return nil, errNoTexts
	}
	return out, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
