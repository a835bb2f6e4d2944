package certificates

import (
	"fmt"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Limits in bytes of a signer's name, which is "domain/path". The path has room
// for the namespace and the name of an object with a dot between: 571 in all.
const (
	maxSignerDomain = utilvalidation.DNS1123SubdomainMaxLength
	maxSignerPath   = utilvalidation.DNS1123LabelMaxLength + 1 + utilvalidation.DNS1123SubdomainMaxLength
	maxSignerName   = maxSignerDomain + 1 + maxSignerPath
)

// ValidateSignerName returns what is wrong with the name of a signer.
//
// Source: pkg/apis/core/validation/names.go.
func ValidateSignerName(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	domain, path, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(path, "/") {
		return field.ErrorList{field.Invalid(at, name,
			"must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	var errs field.ErrorList
	if len(domain) > maxSignerDomain {
		errs = append(errs, field.TooLong(at, "", maxSignerDomain))
	}
	errs = append(errs, dotted(domain, utilvalidation.IsDNS1123Label, at)...)
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(at, domain, "should be a domain with at least two segments separated by dots"))
	}
	errs = append(errs, dotted(path, utilvalidation.IsDNS1123Subdomain, at)...)
	if len(name) > maxSignerName {
		errs = append(errs, field.TooLong(at, "", maxSignerName))
	}
	return errs
}

// dotted returns what rule says of the first bad label of name. The rest would
// only say it again.
func dotted(name string, rule func(string) []string, at *field.Path) field.ErrorList {
	for label := range strings.SplitSeq(name, ".") {
		var errs field.ErrorList
		for _, msg := range rule(label) {
			errs = append(errs, field.Invalid(at, name, fmt.Sprintf("validating label %q: %s", label, msg)))
		}
		if len(errs) > 0 {
			return errs
		}
	}
	return nil
}
