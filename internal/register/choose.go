package register

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"
)

// Names of fields that entries are chosen by besides those of [Fields].
const (
	// FieldName is that of an object.
	FieldName = "metadata.name"
	// FieldUser and FieldGroup are for whom a credential is, and one of the groups
	// that it says.
	FieldUser, FieldGroup   = "status.user.username", "status.user.groups"
	FieldMethod, FieldAsker = "status.method", "status.requestedBy.username"
	FieldIssuer, FieldID    = "status.issuer", "status.credentialID"
	// FieldEndsBefore is no field of an object: the credentials that end before a
	// time, or within a duration from now, as 2030-01-31T00:00:00Z or 7d.
	FieldEndsBefore = "status.expiringBefore"
	// FieldExpired is no field of an object: true for what has ended.
	FieldExpired = "status.expired"
)

// plain are the fields that are compared as they are.
func plain() map[string]func(*Entry) string {
	return map[string]func(*Entry) string{
		FieldName: (*Entry).Name, FieldUser: func(e *Entry) string { return e.User },
		FieldMethod: func(e *Entry) string { return string(e.Method) }, FieldAsker: func(e *Entry) string { return e.Asker.User },
		FieldIssuer: func(e *Entry) string { return e.Issuer }, FieldID: func(e *Entry) string { return e.ID },
		"status.keyID": func(e *Entry) string { return e.KeyID }, "status.serialNumber": func(e *Entry) string { return e.Serial },
		"status.digest": func(e *Entry) string { return e.Digest }, "status.signerName": func(e *Entry) string { return e.Signer },
		"status.renewedFrom": func(e *Entry) string { return e.Parent }, "status.firstOfChain": func(e *Entry) string { return e.First },
	}
}

// Fields are the names of all fields that entries are chosen by, sorted.
func Fields() []string {
	all := []string{FieldGroup, FieldEndsBefore, FieldExpired}
	for name := range plain() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Choose returns what a field selector asks for, as of now.
func Choose(selector fields.Selector, now time.Time) (Query, error) {
	var q Query
	var wants []func(*Entry) bool
	known := plain()
	for _, r := range selector.Requirements() {
		equal := r.Operator != selection.NotEquals
		switch value, of := r.Value, known[r.Field]; {
		case of != nil:
			wants = append(wants, func(e *Entry) bool { return (of(e) == value) == equal })
			if equal && r.Field != FieldName && value != "" {
				q.Has = append(q.Has, stored(value))
			}
		case r.Field == FieldGroup:
			wants = append(wants, func(e *Entry) bool { return slices.Contains(e.Groups, value) == equal })
		case r.Field == FieldEndsBefore || r.Field == FieldExpired:
			if err := q.bound(r.Field, value, equal, now); err != nil {
				return Query{}, fmt.Errorf("field selector %s: %w", r.Field, err)
			}
		default:
			return Query{}, fmt.Errorf("field label not supported: %s; there are %s", r.Field, strings.Join(Fields(), ", "))
		}
	}
	if len(wants) > 0 {
		q.Wants = func(e *Entry) bool {
			return !slices.ContainsFunc(wants, func(w func(*Entry) bool) bool { return !w(e) })
		}
	}
	return q, nil
}

// stored returns a text as it stands in the value of a row.
func stored(text string) []byte {
	quoted, _ := json.Marshal(text) // a text
	return quoted
}

// bound takes a requirement about the end of credentials into the bounds.
func (q *Query) bound(field, value string, equal bool, now time.Time) error {
	if field == FieldExpired {
		expired, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		// What has ended is over at its second.
		if second := now.Truncate(time.Second).Add(time.Second); expired == equal {
			q.until(second)
		} else {
			q.from(second)
		}
		return nil
	}
	end, err := parseEnd(value, now)
	if err != nil {
		return err
	}
	if equal {
		q.until(end)
	} else {
		q.from(end)
	}
	return nil
}

func (q *Query) until(t time.Time) {
	if q.Until.IsZero() || t.Before(q.Until) {
		q.Until = t
	}
}

func (q *Query) from(t time.Time) {
	if t.After(q.From) {
		q.From = t
	}
}

func parseEnd(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	within, err := parseWithin(text)
	if err != nil {
		return time.Time{}, err
	}
	return now.Add(within), nil
}

// parseWithin reads a duration, or a number of days and a d.
func parseWithin(text string) (time.Duration, error) {
	const day, mostDays = 24 * hour, math.MaxInt64 / (24 * hour)
	within, err := time.ParseDuration(text)
	if number, days := strings.CutSuffix(text, "d"); days {
		var n uint64
		n, err = strconv.ParseUint(number, 10, 32)
		if n > uint64(mostDays) {
			err = errors.New("too many days")
		}
		within = time.Duration(n) * day
	}
	if err != nil || within < 0 {
		return 0, fmt.Errorf("%q is no time: write it as 7d, 12h or 2030-01-31T00:00:00Z", text)
	}
	return within, nil
}
