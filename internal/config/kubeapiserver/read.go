package kubeapiserver

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest file, in bytes, that is read.
const MaxFile = 1 << 20

// A Command is how a kube-apiserver was started.
type Command struct {
	// Args are its arguments, without its own name.
	Args []string
	// mounts are the folders of its container that lie elsewhere on the machine.
	mounts []string
}

// A manifest is what counts of a Pod, or of what has a template of one.
type manifest struct {
	Kind string `yaml:"kind"`
	Spec struct {
		podSpec  `yaml:",inline"`
		Template struct {
			Spec podSpec `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type podSpec struct {
	Containers []container `yaml:"containers"`
	Volumes    []struct {
		Name     string `yaml:"name"`
		HostPath struct {
			Path string `yaml:"path"`
		} `yaml:"hostPath"`
	} `yaml:"volumes"`
}

type container struct {
	Name    string   `yaml:"name"`
	Command []string `yaml:"command"`
	Args    []string `yaml:"args"`
	Env     []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	Mounts []struct {
		Name string `yaml:"name"`
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

// Read reads a static Pod manifest, as YAML or JSON, or a text with a command
// line, such as a unit of systemd or the line of a log.
func Read(text []byte) (*Command, error) {
	c, err := read(text)
	if err != nil {
		return nil, err
	}
	for i, arg := range c.Args {
		if strings.ContainsFunc(arg, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
			return nil, fmt.Errorf("argument %d of the kube-apiserver has a control character: remove it", i+1)
		}
	}
	return c, nil
}

func read(text []byte) (*Command, error) {
	if len(text) > MaxFile {
		return nil, errors.New("it is bigger than 1 MiB")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var m manifest
		if err := decoder.Decode(&m); err != nil || m.Kind == "" {
			break
		}
		for _, spec := range []podSpec{m.Spec.podSpec, m.Spec.Template.Spec} {
			if c, err := spec.command(); c != nil || err != nil {
				return c, err
			}
		}
	}
	words, err := split(string(text))
	if err != nil {
		return nil, err
	}
	args, ok := after(words)
	if !ok {
		return nil, errors.New("no kube-apiserver is started in it: give its static Pod manifest, or a file with its command line")
	}
	return &Command{Args: args}, nil
}

// command returns how the kube-apiserver among the containers is started, or nil
// if there is none.
func (s podSpec) command() (*Command, error) {
	for _, c := range s.Containers {
		words, err := c.words()
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", c.Name, err)
		}
		args, ok := after(words)
		if !ok && c.Name == "kube-apiserver" && len(c.Command) == 0 {
			args, ok = words, true // the image says what is started
		}
		if !ok {
			continue
		}
		return &Command{Args: args, mounts: s.elsewhere(c)}, nil
	}
	return nil, nil
}

// words are the command and its arguments, with variables filled in as a kubelet
// does. Those of a shell's script are taken apart.
func (c container) words() ([]string, error) {
	var words []string
	for _, w := range append(c.Command[:len(c.Command):len(c.Command)], c.Args...) {
		for _, e := range c.Env {
			w = strings.ReplaceAll(w, "$("+e.Name+")", e.Value)
		}
		words = append(words, w)
	}
	if len(words) == 3 && words[1] == "-c" {
		return split(words[2])
	}
	return words, nil
}

// elsewhere returns the folders of c that have another path on the machine.
func (s podSpec) elsewhere(c container) []string {
	var all []string
	for _, m := range c.Mounts {
		for _, v := range s.Volumes {
			if v.Name == m.Name && path.Clean(v.HostPath.Path) != path.Clean(m.Path) {
				all = append(all, path.Clean(m.Path))
			}
		}
	}
	return all
}

// mounted returns those of files that lie in a folder of the container's own.
func (c *Command) mounted(files []string) []string {
	var all []string
	for _, f := range files {
		for _, m := range c.mounts {
			if f == m || strings.HasPrefix(f, m+"/") {
				all = append(all, f)
				break
			}
		}
	}
	return all
}

// after returns the words after the name of the program, or all if they begin
// with a flag.
func after(words []string) ([]string, bool) {
	for i, w := range words {
		w = strings.TrimPrefix(w, "ExecStart=")
		if path.Base(w) == "kube-apiserver" {
			args := words[i+1:]
			for n, a := range args {
				if a == ";" || a == "&&" || a == "|" { // the next command
					args = args[:n]
					break
				}
			}
			return args, true
		}
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "--") {
		return words, true
	}
	return nil, false
}

// split takes a line of a shell apart. What only a shell could know is refused.
func split(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inside, escaped := false, false
	end := func() {
		if inside {
			words = append(words, word.String())
		}
		word.Reset()
		inside = false
	}
	for _, r := range text {
		switch {
		case escaped:
			escaped = false
			if r != '\n' {
				word.WriteRune(r)
				inside = true
			}
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inside = r, true
		case quote != '\'' && (r == '$' || r == '`'):
			return nil, errors.New("it has a variable or a command of a shell in it: give the command line as it is run")
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			end()
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quotation in it does not end")
	}
	end()
	return words, nil
}
