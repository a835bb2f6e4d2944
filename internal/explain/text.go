package explain

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/authn"
)

// A Page writes explanations for people.
type Page struct {
	// Colour marks what is good and bad, for terminals.
	Colour bool

	b strings.Builder
}

// Write writes an explanation to w.
func (p *Page) Write(w io.Writer, e *Explanation) error {
	p.b.Reset()
	if e.Status.Message != "" {
		p.line("%s", e.Status.Message)
	}
	for i := range e.Status.Requests {
		if i > 0 {
			p.line("")
		}
		p.request(&e.Status.Requests[i])
	}
	if n := e.Status.More; n > 0 {
		p.line("\n%d more have this audit ID; ask for one by its request ID", n)
	}
	if lost := e.Status.NotRecorded; lost != nil && allLost(lost) > 0 && len(e.Status.Requests) > 0 {
		p.line("\n%d other refused requests of the last %s were not recorded", allLost(lost), e.Status.KeptFor)
	}
	_, err := io.WriteString(w, strings.TrimPrefix(p.b.String(), "\n"))
	return err
}

// line writes one line. What callers have a hand in cannot move the cursor.
func (p *Page) line(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = printable(s)
		}
	}
	fmt.Fprintf(&p.b, format+"\n", args...)
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return ' '
		}
		if r != '\x1b' && unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

func (p *Page) request(r *Request) {
	if r.ID != "" {
		p.line("request %s, audit ID %s", r.ID, r.AuditID)
		p.line("answered with %d at %s by %s to %s", r.Code, r.Time.UTC().Format(time.RFC3339), r.Server, r.Peer)
	}
	if r.Path != "" {
		p.line("%s %s", r.Method, r.Path)
	}
	about := words{"who is calling", "the caller is ", "what the caller may do"}
	if r.Review != nil {
		about = words{"whose the token is", "the token is of ", "what the user may do"}
		if r.Authorization != nil {
			about.user = "the user is "
		}
		p.review(r.Review, r.Code)
	}
	if len(r.Ladder) > 0 {
		p.line("\n%s", about.ladder)
		p.ladder(r.Ladder)
	}
	if u := r.User; u != nil {
		p.line("\n%s%s", about.user, u.Username)
		p.user(u)
	}
	if r.Authorization != nil {
		p.line("\n%s", about.authorization)
		p.authorization(r.Authorization)
	}
	if r.ID == "" {
		p.line("\nthe answer would be %d", r.Code)
	}
}

// words are the headings of what is said of a request.
type words struct{ ladder, user, authorization string }

func (p *Page) review(r *Review, code int) {
	audiences, answer := "", "the answer was no"
	if code != http.StatusCreated {
		answer = "it got no answer"
	}
	if len(r.Audiences) > 0 {
		audiences = ", for " + strings.Join(r.Audiences, ", ")
	}
	p.line("a %s by %s%s: %s", r.Kind, r.Asker, audiences, answer)
}

func (p *Page) ladder(rungs []Rung) {
	width := 0
	for i := range rungs {
		width = max(width, utf8.RuneCountInString(name(&rungs[i])))
	}
	for i := range rungs {
		r := &rungs[i]
		reason := r.Reason
		if r.Found == string(authn.Accepted) {
			reason = "it is good"
		}
		fmt.Fprintf(&p.b, "  %s ", p.mark(authn.Finding(r.Found)))
		p.line("%s%s  %-8s  %s", printable(name(r)), strings.Repeat(" ", width-utf8.RuneCountInString(name(r))), r.Found, reason)
		p.checks(r.Checks)
		if r.Mend != "" {
			p.line("      mend: %s", r.Mend)
		}
	}
}

func name(r *Rung) string {
	if r.Source == "" {
		return cmp.Or(r.Method, "authenticator")
	}
	return r.Method + " " + r.Source
}

func (p *Page) checks(checks []Check) {
	width := 0
	for _, c := range checks {
		width = max(width, utf8.RuneCountInString(c.What))
	}
	for _, c := range checks {
		found := authn.Refused
		text := "got " + cmp.Or(c.Got, "nothing") + ", want " + c.Want
		if c.OK {
			found, text = authn.Accepted, c.Got
		} else if c.Want == "" {
			text = c.Got
		}
		fmt.Fprintf(&p.b, "      %s ", p.mark(found))
		p.line("%s%s  %s", c.What, strings.Repeat(" ", width-utf8.RuneCountInString(c.What)), text)
	}
}

func (p *Page) user(u *User) {
	groups := u.Groups
	if u.MoreGroups > 0 {
		groups = append(groups[:len(groups):len(groups)], fmt.Sprintf("and %d more", u.MoreGroups))
	}
	for _, field := range []struct{ what, value string }{
		{"uid", u.UID}, {"groups", strings.Join(groups, ", ")}, {"method", u.Method}, {"issuer", u.Issuer},
		{"credential", u.CredentialID}, {"registered as", u.Registered}, {"impersonated by", u.Impersonator},
	} {
		if field.value != "" {
			p.line("  %-15s  %s", field.what, field.value)
		}
	}
	if u.Expires != nil {
		p.line("  %-15s  %s", "expires", u.Expires.UTC().Format(time.RFC3339))
	}
}

func (p *Page) authorization(a *Authorization) {
	found, verdict := authn.Refused, "denied"
	if a.Allowed {
		found, verdict = authn.Accepted, "allowed"
	}
	fmt.Fprintf(&p.b, "  %s ", p.mark(found))
	p.line("%s: %s%s", a.Asked.String(), verdict, because(a.Reason, a.Error))
	if a.Now != "" {
		p.line("  now it is %s", a.Now)
	}
	if len(a.Nearest) > 0 {
		p.line("  nearest rules, as of now:")
	}
	for i := range a.Nearest {
		p.line("    - %s", a.Nearest[i].Sentence)
	}
	if len(a.Roles) > 0 {
		p.line("  roles that would allow it, the narrowest first:")
	}
	for _, r := range a.Roles {
		p.line("    - %s: %s", r.Role, r.Command)
	}
	if a.Rule != "" && len(a.Roles) == 0 {
		p.line("  no role would allow it but those of the system, and of everything: make one with the rule")
		p.line("    - %s", a.Rule)
	}
	for i := range a.Instead {
		p.line("  or, instead of that,")
		p.authorization(&a.Instead[i])
	}
}

func because(reasons ...string) string {
	for _, r := range reasons {
		if r != "" {
			return ", because " + r
		}
	}
	return ""
}

// mark is a tick, a cross or a dash.
func (p *Page) mark(found authn.Finding) string {
	sign, colour := "-", ""
	switch found {
	case authn.Accepted:
		sign, colour = "✓", "\x1b[32m"
	case authn.Refused:
		sign, colour = "✗", "\x1b[31m"
	case authn.Passed:
	}
	if !p.Colour || colour == "" {
		return sign
	}
	return colour + sign + "\x1b[0m"
}
