package password

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gatehouse.dev/gatehouse/internal/reload"
)

// Groups is a file that says which groups users are in, and that is followed.
type Groups struct {
	path   string
	file   *reload.File[map[string][]string] // groups by user
	notify func(error)

	mu   sync.Mutex // guards what follows
	uses []func()
}

// OpenGroups reads a file of the format of Apache's AuthGroupFile: a group, a
// colon, and its users with spaces between them in each line. A group may be on
// several lines. Empty lines and those that begin with # are passed over. Notify
// is as for [OpenCSV].
func OpenGroups(path string, notify func(error)) (*Groups, error) {
	g := &Groups{path: path, notify: notify}
	file, err := reload.Open(path, readGroups, g.changed)
	if err != nil {
		return nil, err
	}
	g.file = file
	return g, nil
}

// Run follows the file until ctx ends.
func (g *Groups) Run(ctx context.Context) { g.file.Run(ctx) }

// Status returns how reading the file has gone so far.
func (g *Groups) Status() reload.Status { return g.file.Status() }

// members returns the groups of each user.
func (g *Groups) members() map[string][]string {
	if g == nil {
		return nil
	}
	return g.file.Value()
}

// tell has use called when the file has changed.
func (g *Groups) tell(use func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uses = append(g.uses, use)
}

func (g *Groups) changed(problem error) {
	if problem == nil {
		g.mu.Lock()
		uses := slices.Clone(g.uses)
		g.mu.Unlock()
		for _, use := range uses {
			use()
		}
	}
	if g.notify != nil {
		g.notify(problem)
	}
}

func readGroups(data []byte) (map[string][]string, error) {
	of := map[string][]string{}
	for n, text := range lines(data) {
		group, users, err := groupLine(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, user := range users {
			if !slices.Contains(of[user], group) {
				of[user] = append(of[user], group)
			}
		}
	}
	return of, nil
}

func groupLine(text string) (group string, users []string, err error) {
	group, rest, colon := strings.Cut(text, ":")
	if !colon {
		return "", nil, errors.New("there is no colon after the name of a group")
	}
	if rest != "" && rest[0] != ' ' && rest[0] != '\t' && strings.HasPrefix(text, reserved) {
		// The colon that was found is that of the reserved name.
		return "", nil, fmt.Errorf("the group begins with %s, which no password may stand for: remove the line, or use another name", reserved)
	}
	if err := checkName("group name", group); err != nil {
		return "", nil, err
	}
	for user := range strings.FieldsSeq(rest) {
		if strings.Contains(user, ":") {
			return "", nil, errors.New("a user name has a colon: begin each group on a line of its own")
		}
		if err := checkName("user name", user); err != nil {
			return "", nil, err
		}
		users = append(users, user)
	}
	return group, users, nil
}
