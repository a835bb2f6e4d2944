package issuers

import (
	"context"
	"errors"
	"fmt"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/cel/lazy"

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
		if err != nil {
			err = failed(err, "user validation rule", i.userRules(), userRead(who))
		} else {
			err = judge(verdicts, userRead(who))
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
		err = fmt.Errorf("error evaluating username claim expression: %w", err)
	} else if who.Name == "" {
		err = errors.New("empty username via CEL expression is not allowed")
	}
	if err != nil {
		return unmet(err, "claimMappings.username", err.Error(), m.Expression, claimsRead(c))
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
		err = fmt.Errorf("error evaluating group claim expression: %w", err)
		return unmet(err, "claimMappings.groups", err.Error(), m.Expression, claimsRead(c))
	}
	return nil
}

func (i *issuer) uid(ctx context.Context, c *jwt.Claims, claims *lazy.MapValue, who *identity.Identity) (err error) {
	m := i.spec.ClaimMappings.UID
	switch {
	case m.Claim != "":
		if who.UID, err = c.Text(m.Claim); err != nil {
			return fmt.Errorf("parse uid claim %q: %w", m.Claim, err)
		}
	case i.expressions.UID != nil:
		if who.UID, err = text(ctx, i.expressions.UID, claims); err != nil {
			err = fmt.Errorf("error evaluating uid claim expression: %w", err)
			return unmet(err, "claimMappings.uid", err.Error(), m.Expression, claimsRead(c))
		}
	}
	return nil
}

func (i *issuer) extra(ctx context.Context, c *jwt.Claims, claims *lazy.MapValue, who *identity.Identity) error {
	if i.expressions.Extra == nil {
		return nil
	}
	results, err := i.expressions.Extra.EvalClaimMappings(ctx, claims)
	if err != nil {
		var all []string
		for _, m := range i.spec.ClaimMappings.Extra {
			all = append(all, m.ValueExpression)
		}
		return failed(err, "claimMappings.extra", all, claimsRead(c))
	}
	for _, r := range results {
		mapped, ok := r.ExpressionAccessor.(*authenticationcel.ExtraMappingExpression)
		if !ok {
			return fmt.Errorf("internal error: %T is no extra mapping", r.ExpressionAccessor)
		}
		values, err := texts(r.EvalResult)
		if err != nil {
			err = fmt.Errorf("error evaluating extra claim expression: %s: %w", mapped.Expression, err)
			return unmet(err, "claimMappings.extra "+mapped.Key, err.Error(), mapped.Expression, claimsRead(c))
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
	if err != nil {
		var all []string
		for _, rule := range i.spec.ClaimValidationRules {
			all = append(all, rule.Expression)
		}
		err = failed(err, "claim validation rule", all, claimsRead(c))
	} else {
		err = judge(verdicts, claimsRead(c))
	}
	if err != nil {
		return fmt.Errorf("error evaluating claim validation expression: %w", err)
	}
	return nil
}

func (i *issuer) userRules() (expressions []string) {
	for _, rule := range i.spec.UserValidationRules {
		expressions = append(expressions, rule.Expression)
	}
	return expressions
}

// judge returns an error unless all rules about something hold.
func judge(verdicts []authenticationcel.EvaluationResult, about reading) error {
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
		expression := v.ExpressionAccessor.GetExpression()
		err := fmt.Errorf("validation expression '%s' failed: %s", expression, message)
		return unmet(err, "validation rule ("+message+")", "false", expression, about)
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
