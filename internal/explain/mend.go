package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// subjectOf returns how kubectl names a user in a binding. Nobody binds anything to
// a part of the system by hand, or to the anonymous user, and a name that is too
// long to be recorded, or that is not shown as it is, may be taken for another.
func subjectOf(u *identity.Identity) (flag string, ok bool) {
	if u.Name == "" || !plain(u.Name, maxName) {
		return "", false
	}
	if account, ok := strings.CutPrefix(u.Name, identity.ServiceAccountPrefix); ok {
		namespace, name, _ := strings.Cut(account, ":")
		return "--serviceaccount=" + account, namespace != "" && name != "" && !strings.Contains(name, ":")
	}
	return "--user=" + u.Name, !strings.HasPrefix(u.Name, "system:")
}

// plain reports whether a text is known whole and shown as it is.
func plain(text string, most int) bool { return len(text) <= most && printable(text) == text }

// proposable reports whether it can be proposed to allow a request, and it alone.
// What is asked with a star, by whoever likes, is allowed only by what allows much
// more; so is acting as somebody without a name. To act as one of system:masters is
// to be allowed everything.
func proposable(a *authz.Attributes) bool {
	if !a.IsResource {
		return a.Verb != "*" && plain(a.Verb, maxName) && !strings.HasSuffix(a.Path, "*") && plain(a.Path, maxPath)
	}
	for _, text := range []string{a.Verb, a.APIGroup, a.Resource, a.Subresource, a.Namespace, a.Name} {
		if !plain(text, maxName) {
			return false
		}
	}
	if a.Verb == "" || slices.Contains([]string{a.Verb, a.APIGroup, a.Resource, a.Subresource}, "*") {
		return false
	}
	if a.Verb == "impersonate" || strings.HasPrefix(a.Verb, "impersonate:") {
		return a.Name != "" && (a.Resource != "groups" || a.Name != identity.GroupMasters)
	}
	return true
}

// bind returns the command that binds a role to a subject where a request asks.
func bind(r *authz.Role, a *authz.Attributes, subject string) string {
	kind, flag, where := "clusterrolebinding", "--clusterrole=", ""
	if a.IsResource && a.Namespace != "" {
		kind, where = "rolebinding", " --namespace="+quoted(a.Namespace)
	}
	if r.Kind == "Role" {
		flag = "--role="
	}
	return fmt.Sprintf("kubectl create %s %s%s %s %s", kind, quoted(bindingName(a.User.Name, r.Name)), where, quoted(flag+r.Name), quoted(subject))
}

// bindingName returns a name for a binding that says what is bound to whom.
func bindingName(user, role string) string {
	user = user[strings.LastIndexAny(user, ":/#")+1:]
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' {
			return c
		}
		return '-'
	}, strings.ToLower(user+"-"+role))
	return cmp.Or(strings.Trim(name[:min(len(name), maxBindingName)], "-."), "granted")
}

// maxBindingName is how long the name of a binding becomes, which may be longer but
// should not.
const maxBindingName = 63

// ruleFor returns the rule that allows what is asked and nothing else, in a line of
// YAML.
func ruleFor(a *authz.Attributes) string {
	if !a.IsResource {
		return fmt.Sprintf("{nonResourceURLs: [%q], verbs: [%q]}", a.Path, a.Verb)
	}
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	rule := fmt.Sprintf("apiGroups: [%q], resources: [%q], verbs: [%q]", a.APIGroup, resource, a.Verb)
	if a.Name != "" {
		rule += fmt.Sprintf(", resourceNames: [%q]", a.Name)
	}
	return "{" + rule + "}"
}

// quoted returns a word as a shell takes it.
func quoted(word string) string {
	bare := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_=:./@", c)
	}
	if word != "" && strings.TrimFunc(word, bare) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
