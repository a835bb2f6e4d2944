package signing

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/identity"
)

// A Template is a text with places for what is known of the requester:
// ${username}, ${uid}, ${group}, which stands for each of his groups,
// ${serviceaccount.namespace} and ${serviceaccount.name} of a service account,
// and ${node}, the name of a node. The text * alone stands for every name that
// Kubernetes does not reserve.
//
// A value that is put into the middle of something, or into a name that has a
// form of its own, must not change that form: it is made of letters, digits, and
// "-", "_" and "." between them, and where it is a part of a host name it has no
// dots. A template whose places cannot be filled matches nothing.
type Template struct {
	parts []part
	kind  kind
}

// A part is a text, or the name of a place.
type part struct{ text, place string }

// A kind is what a template is a name of.
type kind int

const (
	free kind = iota
	hostname
	address
	uri
)

// wildcard is the text of the template that matches everything.
const wildcard = "*"

// reserved begins the names that Kubernetes gives away itself.
const reserved = "system:"

func places() []string {
	return []string{"username", "uid", "group", "serviceaccount.namespace", "serviceaccount.name", "node"}
}

func parseTemplate(text string, k kind) (Template, error) {
	t := Template{kind: k}
	switch {
	case text == "":
		return t, errors.New("is empty")
	case text == wildcard && k != free:
		return t, errors.New("stands for every name, which only common names and organizations can be")
	case strings.Contains(text, wildcard) && text != wildcard:
		return t, errors.New("has a * in it, which has to stand alone")
	}
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "${")
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !found {
			break
		}
		place, behind, closed := strings.Cut(after, "}")
		if !closed {
			return t, errors.New("has ${ without }")
		}
		if !slices.Contains(places(), place) {
			return t, fmt.Errorf("knows no ${%s}: the places are %s", place, strings.Join(places(), ", "))
		}
		if place == "group" && text != "${group}" {
			return t, errors.New("has ${group} in it, which has to stand alone: there are many")
		}
		t.parts = append(t.parts, part{place: place})
		rest = behind
	}
	return t, nil
}

// Matches reports whether name is what the template says for who.
func (t Template) Matches(who *Requester, name string) bool {
	switch {
	case len(t.parts) == 1 && t.parts[0].text == wildcard:
		return !strings.HasPrefix(name, reserved)
	case len(t.parts) == 1 && t.parts[0].place == "group":
		return slices.Contains(who.Groups, name)
	}
	want, ok := t.fill(who)
	if !ok {
		return false
	}
	if t.kind == hostname {
		return strings.EqualFold(want, name)
	}
	return want == name
}

// fill returns the text with the places filled in, if they can be.
func (t Template) fill(who *Requester) (string, bool) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.place == "" {
			b.WriteString(p.text)
			continue
		}
		value := who.value(p.place)
		alone := t.kind == free && len(t.parts) == 1
		if value == "" || !alone && !plain(value, t.kind == hostname) {
			return "", false
		}
		b.WriteString(value)
	}
	return b.String(), true
}

// value is what is known of the requester, or "".
func (r *Requester) value(place string) string {
	switch place {
	case "username":
		return r.Username
	case "uid":
		return r.UID
	case "node":
		node, ok := strings.CutPrefix(r.Username, nodePrefix)
		if !ok || !slices.Contains(r.Groups, nodesGroup) {
			return ""
		}
		return node
	}
	account, ok := strings.CutPrefix(r.Username, identity.ServiceAccountPrefix)
	if !ok || !slices.Contains(r.Groups, identity.GroupServiceAccounts) {
		return ""
	}
	namespace, name, _ := strings.Cut(account, ":")
	if place == "serviceaccount.namespace" {
		return namespace
	}
	return name
}

// plain reports whether a value changes nothing around it. As a label of a host
// name it has no dots either.
func plain(value string, label bool) bool {
	letter := func(b byte) bool { return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' }
	for i := range len(value) {
		switch b := value[i]; {
		case letter(b):
		case i == 0 || i == len(value)-1:
			return false
		case b == '-' || b == '_':
		case b == '.' && !label:
		default:
			return false
		}
	}
	return value != ""
}
