//go:build linux

package runner

import (
	"fmt"
	"os/user"
	"slices"
	"strings"
)

// kept are the variables that a process gets without being given them: where
// programs and the home are, and how to speak to people. It is sudo's list. A name
// that ends in _ stands for all that begin so.
func kept() []string {
	return []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "LANG", "LANGUAGE", "LC_", "TZ"}
}

// reserved are those that say who the process is, and so are nobody's to give.
func reserved() []string {
	return []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_EXEC_INFO", "GATEHOUSE_"}
}

func in(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		return s == name || strings.HasSuffix(s, "_") && strings.HasPrefix(name, s)
	})
}

// Environment returns the variables of a process: of those of its parent only
// what any program needs, and what is given. A given NAME=VALUE is taken as it
// is, and a NAME is the parent's. As another user, home and name are that user's.
func Environment(parent, given []string, as *user.User) ([]string, error) {
	values := map[string]string{}
	var order []string
	set := func(name, value string) {
		if _, ok := values[name]; !ok {
			order = append(order, name)
		}
		values[name] = value
	}
	all := map[string]string{}
	for _, v := range parent {
		name, value, _ := strings.Cut(v, "=")
		all[name] = value
		if in(kept(), name) && !in(reserved(), name) {
			set(name, value)
		}
	}
	if as != nil {
		set("HOME", as.HomeDir)
		set("USER", as.Username)
		set("LOGNAME", as.Username)
		set("SHELL", "/bin/sh")
	}
	for _, v := range given {
		name, value, ok := strings.Cut(v, "=")
		switch {
		case name == "":
			return nil, fmt.Errorf("%q has no name", v)
		case in(reserved(), name):
			return nil, fmt.Errorf("%s would say who the process is", name)
		case !ok:
			if value, ok = all[name]; !ok {
				continue // as docker run --env does
			}
		}
		set(name, value)
	}
	env := make([]string, 0, len(order)+3)
	for _, name := range order {
		env = append(env, name+"="+values[name])
	}
	return env, nil
}
