package columns

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

// Revocation returns the Table of Revocations.
func Revocation() *Table {
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("Revokes", "What is taken back."),
		column("Reason", "Why."),
		column("Author", "Who has made the Revocation."),
		column("Ends", "How long the Revocation stays."),
		ageColumn(),
		wideColumn("Issued Before", "Only what was issued before this time is taken back, and what does not say when it was."),
		wideColumn("Message", "Why, in words."),
	}, func(r *v1alpha1.Revocation, now time.Time) []any {
		author := none
		if r.Spec.Author != nil {
			author = r.Spec.Author.Username
		}
		before := none
		if r.Spec.IssuedBefore != nil {
			before = r.Spec.IssuedBefore.UTC().Format(time.RFC3339)
		}
		return []any{
			r.Name, r.Spec.Target(), string(r.Spec.Reason), author, left(r.Spec.ExpiresAt, now),
			age(r.CreationTimestamp.Time, now), before, or(r.Spec.Message, none),
		}
	})
}

// left returns the time from now to end.
func left(end *metav1.Time, now time.Time) string {
	switch {
	case end == nil:
		return "never"
	case !end.After(now):
		return "now"
	}
	return "in " + duration.HumanDuration(end.Sub(now))
}
