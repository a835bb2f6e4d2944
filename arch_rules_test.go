package gatehouse_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

type layer struct {
	name     string
	packages []string
}

type edge struct{ from, to string }

// A pkg is the files of one folder.
type pkg struct {
	path  string
	files []file
}

type file struct {
	path  string
	test  bool
	set   *token.FileSet
	ast   *ast.File
	lines int
}

// read parses the packages of the module in root. Other modules below it, and
// folders that the go command passes over, are left out.
func read(root fs.FS) ([]pkg, error) {
	byPath := map[string]*pkg{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parse(root, name)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if byPath[dir] == nil {
			byPath[dir] = &pkg{path: dir}
		}
		byPath[dir].files = append(byPath[dir].files, f)
		return nil
	})
	var tree []pkg
	for _, p := range byPath {
		tree = append(tree, *p)
	}
	slices.SortFunc(tree, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	return tree, err
}

func enter(root fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	base := path.Base(dir)
	if base[0] == '.' || base[0] == '_' || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func parse(root fs.FS, name string) (file, error) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return file{}, err
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, text, parser.ParseComments)
	return file{
		path: name, test: strings.HasSuffix(name, "_test.go"),
		set: set, ast: tree, lines: strings.Count(string(text), "\n"),
	}, err
}

// check returns every breach of the rules.
func check(tree []pkg) []string {
	var problems []string
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, p := range tree {
		checkPackage(p, say)
		for _, f := range p.files {
			checkImports(p, f, say)
			if !ast.IsGenerated(f.ast) {
				checkSize(f, say)
			}
		}
	}
	return problems
}

type sayer func(format string, args ...any)

func checkPackage(p pkg, say sayer) {
	if level(p.path) < 0 {
		say("%s: the package is in no layer: add it to layers in arch_test.go", p.path)
	}
	var code, comments int
	for _, f := range p.files {
		if f.test || ast.IsGenerated(f.ast) {
			continue
		}
		code++
		if f.ast.Doc != nil {
			comments++
		}
		if slices.Contains(vague, f.ast.Name.Name) {
			say("%s: the name %q does not say what is in the package", f.path, f.ast.Name.Name)
		}
	}
	if code > 0 && comments != 1 {
		say("%s: %d files have a package comment, want 1", p.path, comments)
	}
	checkVariables(p, say)
}

func checkImports(p pkg, f file, say sayer) {
	for _, spec := range f.ast.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if !f.test && slices.Contains(weakHashes, imported) && placement[f.path] == "" {
			say("%s imports %s, which is no cryptographic hash: a collision may make somebody somebody else; what only chooses a place is listed in arch_test.go", f.path, imported)
		}
		ours, isOurs := strings.CutPrefix(imported, module+"/")
		if !f.test && isOurs {
			checkOurs(p, f, ours, say)
		}
		key := longest(imported, onlyIn)
		if key != "" && (!f.test || len(onlyIn[key]) == 0) && !fitsAny(p.path, onlyIn[key]) {
			say("%s imports %s, which only %q may", f.path, imported, onlyIn[key])
		}
		for above, modules := range refused {
			if !f.test && within(p.path, above) && slices.ContainsFunc(modules, func(m string) bool { return within(imported, m) }) {
				say("%s imports %s, which %s must stay free of", f.path, imported, above)
			}
		}
	}
}

// checkOurs judges the import of one of our own packages.
func checkOurs(p pkg, f file, ours string, say sayer) {
	from, to := level(p.path), level(ours)
	if forTests(ours) && !forTests(p.path) && layerName(from) != "test" {
		say("%s imports %s, which is for tests", f.path, ours)
	}
	listed := slices.ContainsFunc(sideways, func(e edge) bool { return fits(p.path, e.from) && fits(ours, e.to) })
	parent := strings.HasPrefix(p.path, ours+"/")
	if to > from || to == from && !listed && !parent {
		say("%s imports %s: a package of the layer %q does not import one of %q", f.path, ours, layerName(from), layerName(to))
	}
}

// forTests tells packages such as storetest.
func forTests(name string) bool {
	return strings.HasSuffix(name, "test") || strings.HasPrefix(name, "test/")
}

func checkSize(f file, say sayer) {
	if f.lines > maxFile {
		say("%s: %d lines, at most %d", f.path, f.lines, maxFile)
	}
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Recv == nil && fn.Name.Name == "init" {
			say("%s: has an init function: what it does cannot be seen by who uses the package", f.path)
		}
		n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
		if n > maxFunction && !f.test {
			say("%s: %s has %d lines, at most %d", f.path, fn.Name.Name, n, maxFunction)
		}
	}
}

// level is the index in layers of the package at name, or -1.
func level(name string) int {
	best, found := "", -1
	for i, l := range layers {
		for _, p := range l.packages {
			if fits(name, p) && (len(p) > len(best) || p == name) && best != name {
				best, found = p, i
			}
		}
	}
	return found
}

func layerName(i int) string {
	if i < 0 {
		return "none"
	}
	return layers[i].name
}

// fits reports whether pattern names the package: exactly, or, as a/..., as one
// of those below a.
func fits(name, pattern string) bool {
	above, all := strings.CutSuffix(pattern, "/...")
	if all {
		return strings.HasPrefix(name, above+"/")
	}
	return name == pattern
}

func fitsAny(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(name, p) })
}

// within reports whether name is above or below it.
func within(name, above string) bool { return name == above || strings.HasPrefix(name, above+"/") }

// longest is the longest key of m that name is within, or "".
func longest(name string, m map[string][]string) string {
	var best string
	for key := range m {
		if within(name, key) && len(key) > len(best) {
			best = key
		}
	}
	return best
}
